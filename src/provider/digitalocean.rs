//! DigitalOcean Container Registry.
