import click
import joblib
import wandb
from sklearn.ensemble import RandomForestClassifier

from digits.data import load


@click.command()
@click.option("--trees", default=50, show_default=True)
@click.option("--max-depth", type=int, default=None)
@click.option("--criterion", type=click.Choice(["gini", "entropy"]), default="gini")
@click.option("--bootstrap/--no-bootstrap", default=True)
@click.option("--seed", default=0)
def main(trees, max_depth, criterion, bootstrap, seed):
    """Train a forest, and log its accuracy as it grows."""
    x_train, x_test, y_train, y_test = load(seed)
    forest = RandomForestClassifier(
        max_depth=max_depth,
        criterion=criterion,
        bootstrap=bootstrap,
        random_state=seed,
        warm_start=True,
    )
    with wandb.init(project="digits") as run:
        run.config.update({"seed": seed, "n_train": len(x_train)})
        for count in range(5, trees + 1, 5):
            forest.n_estimators = count
            forest.fit(x_train, y_train)
            accuracy = forest.score(x_test, y_test)
            run.log({"trees": count, "accuracy": accuracy})
            click.echo(f"{count} trees: {accuracy:.3f}")
        run.summary["depth"] = max(tree.get_depth() for tree in forest.estimators_)
    joblib.dump(forest, "forest.joblib")


if __name__ == "__main__":
    main()
