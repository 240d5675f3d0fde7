//! The chart, installed by the real Helm into a real control plane.

mod allowed;
mod chart;
mod cluster;
mod elder;
mod leader;
mod life;
mod manifests;
mod pod;
mod policies;
mod rights;
mod tenants;
mod wire;
