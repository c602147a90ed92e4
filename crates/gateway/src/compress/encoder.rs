//! The encoders: bytes in, bytes out, with nothing held back after a flush.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::LazyLock;

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::write::GzEncoder;

use super::Coding;
use super::decide::{Compression, Slot};

/// Levels for what is compressed while it is sent; measured in `docs/benchmarks.md`.
const GZIP_LEVEL: u32 = 5;
const ZSTD_LEVEL: i32 = 3;
const BROTLI_QUALITY: i32 = 4;
/// The window, as a power of two: 128 KiB hold what is near, and bound what an encoder takes.
const ZSTD_WINDOW: u32 = 17;
const BROTLI_WINDOW: i32 = 17;
/// The buffer between brotli and what it writes to.
const BROTLI_BUFFER: usize = 8 * 1024;

/// Compresses one body, piece by piece. Works on the calling thread: some 2 to 8 µs for each KiB.
pub struct Encoder {
    coding: Coding,
    inner: Inner,
    _slot: Option<Slot>,
}

enum Inner {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Ended,
}

impl Encoder {
    /// `None` if there is no memory for it.
    pub(super) fn new(coding: Coding, slot: Slot) -> Option<Self> {
        Self::with(coding, Some(slot)).ok()
    }

    /// An encoder for a file that is read while its client takes it; `None` if there are too many of them already.
    pub(crate) fn of_file(coding: Coding) -> Option<Self> {
        /// All files of the process share it.
        static FILES: LazyLock<Compression> = LazyLock::new(Compression::default);
        Self::with(coding, Some(FILES.take_slot()?)).ok()
    }

    /// An encoder that is not counted, for work that is bounded otherwise.
    pub(crate) fn uncounted(coding: Coding) -> io::Result<Self> {
        Self::with(coding, None)
    }

    fn with(coding: Coding, slot: Option<Slot>) -> io::Result<Self> {
        let inner = match coding {
            Coding::Gzip => Inner::Gzip(GzEncoder::new(
                Vec::new(),
                flate2::Compression::new(GZIP_LEVEL),
            )),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(ZSTD_WINDOW)?;
                Inner::Zstd(encoder)
            }
            Coding::Brotli => {
                let params = BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    lgwin: BROTLI_WINDOW,
                    ..BrotliEncoderParams::default()
                };
                Inner::Brotli(Box::new(CompressorWriter::with_params(
                    Vec::new(),
                    BROTLI_BUFFER,
                    &params,
                )))
            }
        };
        Ok(Self {
            coding,
            inner,
            _slot: slot,
        })
    }

    /// The coding of what comes out.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Takes a piece of the body; appends to `out` what is ready, often nothing.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.inner {
            Inner::Gzip(encoder) => encoder.write_all(data)?,
            Inner::Zstd(encoder) => encoder.write_all(data)?,
            Inner::Brotli(encoder) => encoder.write_all(data)?,
            Inner::Ended => return Err(ended()),
        }
        self.take(out);
        Ok(())
    }

    /// Appends to `out` all that was held back, so that whoever reads gets everything that was pushed.
    ///
    /// Costs some bytes each time. To be called when the source has nothing more at the moment.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.inner {
            Inner::Gzip(encoder) => encoder.flush()?,
            Inner::Zstd(encoder) => encoder.flush()?,
            Inner::Brotli(encoder) => encoder.flush()?,
            Inner::Ended => return Err(ended()),
        }
        self.take(out);
        Ok(())
    }

    /// Appends the rest to `out`. A body without this end is broken, and is seen as such by its reader.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let rest = match std::mem::replace(&mut self.inner, Inner::Ended) {
            Inner::Gzip(encoder) => encoder.finish()?,
            Inner::Zstd(encoder) => encoder.finish()?,
            Inner::Brotli(encoder) => encoder.into_inner(),
            Inner::Ended => return Err(ended()),
        };
        out.extend_from_slice(&rest);
        Ok(())
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        let ready = match &mut self.inner {
            Inner::Gzip(encoder) => encoder.get_mut(),
            Inner::Zstd(encoder) => encoder.get_mut(),
            Inner::Brotli(encoder) => encoder.get_mut(),
            Inner::Ended => return,
        };
        out.append(ready);
    }
}

fn ended() -> io::Error {
    io::Error::other("the compressed body has been finished already")
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("coding", &self.coding)
            .finish_non_exhaustive()
    }
}
