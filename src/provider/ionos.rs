//! IONOS Container Registry.
