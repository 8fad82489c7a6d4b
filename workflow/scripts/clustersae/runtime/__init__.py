"""What every part needs of the machine: files, tensors on disk, checkpoints, devices, logs."""
