//! What the metadata promises, tried out.

mod codec;
mod controller;
mod crash;
mod seeds;
mod state;
