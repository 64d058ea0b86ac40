"""What the user takes: the adapter as native PEFT files, a model card and a script."""
