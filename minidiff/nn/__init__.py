"""Neural networks: attention modules, the decoder, and generation."""
