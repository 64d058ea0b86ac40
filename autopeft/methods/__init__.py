"""What a choice does to a model: one file a PEFT method, behind one registry."""
