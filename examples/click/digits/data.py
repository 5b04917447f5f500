from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def load(seed):
    return train_test_split(*load_digits(return_X_y=True), test_size=0.3, random_state=seed)
