//! The chart, installed by the real Helm into a real control plane.

mod life;
mod manifests;
mod pod;
