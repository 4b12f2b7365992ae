"""Training, validation and detection."""
