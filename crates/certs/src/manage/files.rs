//! Certificates in files of others: read again when they change.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Manager, Shared};
use crate::config::Origin;
use crate::stored::load_files;
use crate::trouble::{Trouble, TroubleKind};

/// How long the disk may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How files were when they were looked at: behind all links, so that a link that leads elsewhere is a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileState([Option<One>; 2]);

/// Device, number, size, and the time of the last change with its nanoseconds.
type One = (u64, u64, u64, i64, i64);

impl FileState {
    pub(super) fn of(chain: &Path, key: &Path) -> Self {
        let one = |path: &Path| {
            let data = std::fs::metadata(path).ok()?;
            Some((
                data.dev(),
                data.ino(),
                data.size(),
                data.mtime(),
                data.mtime_nsec(),
            ))
        };
        Self([one(chain), one(key)])
    }
}

impl Shared {
    fn reading(&self) -> MutexGuard<'_, HashSet<String>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Manager {
    /// Reads what has changed. Files that cannot be used are left, and the certificate of before stays.
    pub(super) async fn look_at_files(&self) {
        let mut changed = Vec::new();
        for one in self.0.managed().iter() {
            if let Origin::Files(chain, key) = &one.wanted.origin {
                changed.push((
                    one.wanted.id.clone(),
                    chain.clone(),
                    key.clone(),
                    one.files.clone(),
                    one.history.trouble.is_some() || one.doubtful,
                ));
            }
        }
        for (id, chain, key, before, was_wrong) in changed {
            let shared = Arc::clone(&self.0);
            let name = id.clone();
            if !shared.reading().insert(name.clone()) {
                continue;
            }
            let looked = tokio::task::spawn_blocking(move || {
                let state = FileState::of(&chain, &key);
                // Those that were wrong may have become right without a sign: they may be read now, or are valid now.
                let again = state != before || was_wrong;
                let read = again.then(|| (state, load_files(&chain, &key)));
                shared.reading().remove(&name);
                read
            });
            let looked = match tokio::time::timeout(LIMIT, looked).await {
                Ok(Ok(looked)) => looked,
                Ok(Err(error)) => {
                    self.0.reading().remove(&id);
                    tracing::error!(error = %error, "reading a certificate broke off");
                    continue;
                }
                Err(_) => {
                    let trouble = Trouble::new(
                        TroubleKind::Files,
                        format!("the files of the certificate {id} cannot be read within 10 s"),
                        "check the disk that they are on",
                    );
                    self.0
                        .change(&id, |one| one.history.trouble = Some(trouble));
                    continue;
                }
            };
            match looked {
                None => {}
                Some((state, Ok(kept))) => {
                    let until = kept.inspected.not_after;
                    let now = self.0.now();
                    let one = self.0.find(&id);
                    let same = one
                        .as_ref()
                        .is_some_and(|one| one.in_place && one.shown.chain == kept.inspected.chain);
                    let stays = !same
                        && one.is_some_and(|one| {
                            one.in_place
                                && one.shown.is_valid_at(now)
                                && !kept.inspected.is_valid_at(now)
                        });
                    if stays {
                        self.0.change(&id, |one| {
                            one.files = state;
                            one.history.trouble = Some(Trouble::new(
                                TroubleKind::BadCertificate,
                                format!("the new files of the certificate {id} are not valid today, so the one of before stays"),
                                format!("it ends on {until}: check what was put there, and this machine's clock"),
                            ));
                        });
                        continue;
                    }
                    self.0.show(&id, kept, true);
                    self.0.change(&id, |one| {
                        one.files = state;
                        one.doubtful = false;
                        one.history.trouble = None;
                        one.told = None;
                    });
                    if same {
                        continue;
                    }
                    tracing::info!(
                        certificate = id,
                        "read a new certificate from its files, valid until {until}"
                    );
                }
                Some((state, Err(trouble))) => self.0.change(&id, |one| {
                    let known = one.files == state;
                    if known || one.doubtful {
                        if !known {
                            one.told = None;
                        }
                        one.doubtful = false;
                        one.files = state;
                        one.history.trouble = Some(trouble);
                    } else {
                        // Perhaps it is only between the writing of the one file and the other: they are read again at
                        // the next look.
                        one.doubtful = true;
                    }
                }),
            }
        }
    }
}
