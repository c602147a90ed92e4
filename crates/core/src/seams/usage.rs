//! What a server uses of the machine, and how much space a home has: asked of the spawner, shown to people.

/// What a server uses. What the spawner cannot tell is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// The most bytes of memory that it may use, if it has a limit.
    pub memory_limit: Option<u64>,
    /// Microseconds of processor time since its start.
    pub cpu_micros: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// How often the system has ended one of its processes because the memory was used up; only ever grows while the
    /// server runs.
    pub out_of_memory: u64,
}

/// The space of a home folder. What nobody counts is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HomeSpace {
    /// Bytes that the user's files take, where the file system counts them for each user.
    pub used: Option<u64>,
    /// The most bytes that the user may have there.
    pub quota: Option<u64>,
    /// Bytes that are free on the file system.
    pub free: Option<u64>,
}
