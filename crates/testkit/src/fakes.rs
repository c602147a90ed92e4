//! Parts of a hub that do as a test says.

mod clock;
mod spawner;

pub use clock::FakeClock;
pub use spawner::{FakeSpawner, Start, Stop};
