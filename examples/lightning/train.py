"""An autoencoder of sine waves, with Lightning."""

from argparse import ArgumentParser

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Waves(L.LightningDataModule):
    def __init__(self, batch_size=32, num_workers=2):
        super().__init__()
        self.batch_size = batch_size
        self.num_workers = num_workers

    def setup(self, stage):
        time = torch.linspace(0, 1, 32)
        frequency, phase = 1 + 3 * torch.rand(640, 1), torch.rand(640, 1)
        waves = torch.sin(2 * torch.pi * (frequency * time + phase))
        self.train, self.val = TensorDataset(waves[:512]), TensorDataset(waves[512:])

    def train_dataloader(self):
        return DataLoader(self.train, self.batch_size, shuffle=True, num_workers=self.num_workers)

    def val_dataloader(self):
        return DataLoader(self.val, self.batch_size, num_workers=self.num_workers)


class Autoencoder(L.LightningModule):
    def __init__(self, lr, latent):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 32))

    def training_step(self, batch, _):
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch), prog_bar=True)

    def loss(self, batch):
        (waves,) = batch
        return nn.functional.mse_loss(self.decoder(self.encoder(waves)), waves)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)
        return [optimizer], [scheduler]


def main():
    parser = ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--latent", type=int, default=4)
    parser.add_argument("--max_epochs", type=int, default=4)
    args = parser.parse_args()

    L.seed_everything(1, workers=True)
    logger = WandbLogger(project="waves")
    trainer = L.Trainer(
        max_epochs=args.max_epochs,
        logger=logger,
        log_every_n_steps=5,
        callbacks=[
            ModelCheckpoint(monitor="val_loss", save_last=True),
            EarlyStopping("val_loss", patience=3),
            LearningRateMonitor(),
        ],
    )
    trainer.fit(Autoencoder(args.lr, args.latent), Waves())
    logger.experiment.summary["best_val_loss"] = trainer.checkpoint_callback.best_model_score


if __name__ == "__main__":
    main()
