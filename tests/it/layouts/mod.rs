//! Public and self-hosted registries as they really answer, by their own host names: what is right must pass, and the way in
//! which each of them says no must be understood.
//!
//! A fake models one provider's contract with the quirk that tells it from the others; each file names the quirk. `fake` has
//! what they share, `door` the registry's side of token authentication, `layout` the scenario around them.

mod door;
mod fake;
mod layout;

mod acr;
mod addresses;
mod artifact_registry;
mod artifactory;
mod digital_ocean;
mod docker_hub;
mod ecr;
mod ecr_public;
mod ghcr;
mod gitlab;
mod harbor;
mod nexus;
mod quay;
