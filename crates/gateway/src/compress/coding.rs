//! The content codings that are spoken, in the order in which they are preferred.

/// A content coding (RFC 9110 §8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    /// `br` (RFC 7932): the smallest, and the slowest to make.
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
    /// `gzip` (RFC 1952): what everybody understands. Chromium asks for the others by TLS and on the machine
    /// itself only.
    Gzip,
}

impl Coding {
    /// All codings, the smallest result first: the order for what is compressed once and sent often.
    pub const BY_SIZE: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];
    /// All codings, the cheapest first: the order for what is compressed while it is sent. At the levels used
    /// the results differ by 4 %, the time by a factor of 4.
    pub const BY_COST: [Self; 3] = [Self::Zstd, Self::Gzip, Self::Brotli];

    /// The name in `Accept-Encoding` and `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}
