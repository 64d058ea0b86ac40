"""What is adapted: named models, their structure from the config alone, and their weights."""
