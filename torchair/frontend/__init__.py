"""From PyTorch to the ATen dialect: dynamo backend, FX and ExportedProgram import, runtime
wrapper."""
