"""What SAEs keep of the activations and of the model's predictions, against what they cost."""
