"""The dialects of torchair and the data tables behind them. Nothing here imports torch."""
