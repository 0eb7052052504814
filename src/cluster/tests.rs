//! What the metadata promises, tried out.

mod codec;
mod controller;
mod crash;
mod model;
mod seeds;
mod state;
