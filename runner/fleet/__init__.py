"""The agents of a state folder: compare them with what is wanted, plan actions, follow them."""
