//! From a revision to files on the disk.

use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::sleep;

use crate::cache::Cached;
use crate::download::Download;
use crate::error::HubError;
use crate::listing::{Entry, HubFile, MOST_FILES, Revision};
use crate::progress::{Counter, Progress, size};
use crate::repository::{Repository, is_commit};
use crate::settings::Settings;
use crate::web::{Asked, Web};

/// Files that are fetched at a time.
const AT_ONCE: usize = 4;

/// How often the caller is asked whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Room that is left on the disk.
const RESERVE: u64 = 64 << 20;

/// Files of one commit that are on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit.
    pub commit: String,
    /// Below this directory the files have the paths of the repository.
    pub directory: PathBuf,
    /// Those that were chosen.
    pub files: Vec<HubFile>,
    /// Bytes that came over the network.
    pub fetched_bytes: u64,
    /// Why the cache was asked instead of the hub, where it was.
    pub from_cache: Option<String>,
}

/// A hub, with the cache on this machine.
#[derive(Clone, Debug)]
pub struct Hub {
    settings: Settings,
}

/// Picks files, or says as a clause about the repository why they do not serve.
type Choose<'a> = &'a dyn Fn(&[HubFile]) -> Result<Vec<HubFile>, String>;

/// What a call is told and tells.
struct Ears<'a> {
    stop: &'a dyn Fn() -> bool,
    say: &'a dyn Fn(&Progress),
}

impl Hub {
    /// The hub that the settings name. Makes no connection.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Fetches the files that `choose` picks of a revision: a branch, a tag or a commit. Where the hub cannot be reached,
    /// what the cache has of it serves. `stop` is asked several times a second, and `say` is told every few seconds.
    ///
    /// # Errors
    /// [`HubError`], in one sentence. What was fetched until then is kept and gone on with.
    pub fn fetch(
        &self,
        repository: &Repository,
        revision: &str,
        choose: Choose<'_>,
        stop: &dyn Fn() -> bool,
        say: &dyn Fn(&Progress),
    ) -> Result<Snapshot, HubError> {
        let ears = Ears { stop, say };
        self.wait_for(&ears, self.fetch_revision(repository, revision, choose, &ears))
    }

    /// Makes sure that these files of a commit are there, without asking what else it has.
    ///
    /// # Errors
    /// As [`Hub::fetch`].
    pub fn restore(
        &self,
        repository: &Repository,
        commit: &str,
        files: &[HubFile],
        stop: &dyn Fn() -> bool,
        say: &dyn Fn(&Progress),
    ) -> Result<Snapshot, HubError> {
        let ears = Ears { stop, say };
        self.wait_for(&ears, self.download(repository, commit, files.to_vec(), &ears))
    }

    /// Runs a future on this thread until it is done or the caller is to stop.
    fn wait_for<T>(&self, ears: &Ears<'_>, work: impl Future<Output = Result<T, HubError>>) -> Result<T, HubError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(HubError::disk(&self.settings.cache))?;
        let stopped = async {
            while !(ears.stop)() {
                sleep(LOOK_EVERY).await;
            }
        };
        let outcome = runtime.block_on(async {
            tokio::select! {
                biased;
                () = stopped => Err(HubError::Stopped),
                outcome = work => outcome,
            }
        });
        // A name that is being looked up cannot be interrupted; the thread that does it is left alone.
        runtime.shutdown_background();
        outcome
    }

    async fn fetch_revision(
        &self,
        repository: &Repository,
        revision: &str,
        choose: Choose<'_>,
        ears: &Ears<'_>,
    ) -> Result<Snapshot, HubError> {
        let cached = Cached::new(&self.settings.cache, repository);
        if self.settings.offline {
            return self.take_cached(&cached, repository, revision, choose, None);
        }
        let web = Web::new(&self.settings)?;
        let listed = list(&web, repository, revision).await;
        let (commit, files) = match listed {
            Ok(listed) => listed,
            Err(error @ (HubError::Unreachable { .. } | HubError::TooMany { .. })) => {
                // Without a network, what was fetched before serves; and where nothing was, the network is at fault.
                let reason = error.to_string();
                let snapshot = self.take_cached(&cached, repository, revision, choose, Some(reason));
                return snapshot.map_err(|_| error);
            }
            Err(error) => return Err(error),
        };
        let chosen = choose(&files).map_err(|clause| unfit(repository, &clause))?;
        let snapshot = self.download(repository, &commit, chosen, ears).await?;
        // A cache that has it all may be mounted for reading alone.
        let _ = cached.note(revision, &commit);
        Ok(snapshot)
    }

    /// What the cache has of a revision.
    fn take_cached(
        &self,
        cached: &Cached,
        repository: &Repository,
        revision: &str,
        choose: Choose<'_>,
        reason: Option<String>,
    ) -> Result<Snapshot, HubError> {
        let missing = |what: String| HubError::Offline {
            cache: cached.cache().to_owned(),
            what,
        };
        let commit = cached.commit(revision);
        let commit = commit.ok_or_else(|| missing(format!("revision {revision} of {repository}")))?;
        let files = cached.files(&commit);
        if files.is_empty() {
            return Err(missing(format!("revision {revision} of {repository}")));
        }
        let chosen = choose(&files).map_err(|clause| missing(format!("all of {repository}: what it has {clause}")))?;
        Ok(Snapshot {
            directory: cached.snapshot(&commit),
            commit,
            files: chosen,
            fetched_bytes: 0,
            from_cache: Some(reason.unwrap_or_else(|| "HF_HUB_OFFLINE is set".to_owned())),
        })
    }

    async fn download(
        &self,
        repository: &Repository,
        commit: &str,
        files: Vec<HubFile>,
        ears: &Ears<'_>,
    ) -> Result<Snapshot, HubError> {
        if !is_commit(commit) {
            return Err(unfit(repository, &format!("has no commit {commit:?}")));
        }
        let cached = Cached::new(&self.settings.cache, repository);
        let absent: Vec<&HubFile> = files.iter().filter(|file| !cached.has(commit, file)).collect();
        let counter = Counter::new(files.len() as u64, files.iter().map(|file| file.bytes).sum());
        for there in files.iter().filter(|file| cached.has(commit, file)) {
            counter.found(there.bytes);
            counter.file_is_there();
        }
        if let Some(unknown) = absent.iter().find(|file| file.checksum.is_empty()) {
            return Err(unfit(repository, &format!("has {} without a checksum", unknown.path)));
        }
        if let Some(first) = absent.first() {
            let without_blob: Vec<&&HubFile> = absent.iter().filter(|file| !cached.has_blob(file)).collect();
            if self.settings.offline && !without_blob.is_empty() {
                return Err(HubError::Offline {
                    cache: cached.cache().to_owned(),
                    what: format!("{} of {repository} at {commit}", first.path),
                });
            }
            cached.prepare()?;
            check_room(&cached, &without_blob)?;
            let web = Web::new(&self.settings)?;
            let download = Download {
                web: &web,
                patience: &self.settings.patience,
                cached: &cached,
                counter: &counter,
            };
            let one = async |file: &HubFile| {
                let segments = repository.page().into_iter().chain(["resolve", commit]);
                let url = web.url(segments.chain(file.path.split('/')));
                let asked = Asked {
                    repository,
                    what: &file.path,
                };
                download.file(&url, file, &asked).await?;
                cached.link(commit, file)
            };
            let all = stream::iter(absent.iter().map(|file| one(file)))
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>();
            tokio::select! {
                outcome = all => outcome?,
                () = self.tell(&counter, ears) => {}
            }
        }
        Ok(Snapshot {
            commit: commit.to_owned(),
            directory: cached.snapshot(commit),
            fetched_bytes: counter.progress().fetched,
            files,
            from_cache: None,
        })
    }

    /// Tells how far it is, for ever.
    async fn tell(&self, counter: &Counter, ears: &Ears<'_>) {
        loop {
            sleep(self.settings.patience.progress).await;
            (ears.say)(&counter.progress());
        }
    }
}

fn unfit(repository: &Repository, clause: &str) -> HubError {
    HubError::Unfit(format!("{repository} {clause}"))
}

/// The commit of a revision and all its files.
async fn list(web: &Web<'_>, repository: &Repository, revision: &str) -> Result<(String, Vec<HubFile>), HubError> {
    let what = format!("revision {revision}");
    let asked = Asked {
        repository,
        what: &what,
    };
    let strange = |reason: String| HubError::Strange {
        host: web.host(),
        reason: format!("{repository}: {reason}"),
    };
    let url = web.url(repository.api().into_iter().chain(["revision", revision]));
    let (answer, _) = web.page::<Revision>(&url, &asked).await?;
    let commit = answer.commit().map_err(strange)?;
    if is_commit(revision) && commit != revision {
        return Err(strange(format!("asked for commit {revision}, it gives {commit}")));
    }
    let mut url = web.url(repository.api().into_iter().chain(["tree", &commit]));
    url.set_query(Some("recursive=true"));
    let mut files = Vec::new();
    let mut queries = Vec::new();
    loop {
        let (entries, next) = web.page::<Vec<Entry>>(&url, &asked).await?;
        for entry in entries {
            if let Some(file) = entry.file() {
                files.push(file.map_err(strange)?);
            }
        }
        if files.len() > MOST_FILES {
            return Err(strange(format!("more than {MOST_FILES} files")));
        }
        match next {
            None => return Ok((commit, files)),
            Some(query) if queries.contains(&query) => return Err(strange("its pages go in a circle".to_owned())),
            Some(query) => {
                url.set_query(Some(&query));
                queries.push(query);
            }
        }
    }
}

/// Refuses what cannot fit before anything is fetched.
fn check_room(cached: &Cached, files: &[&&HubFile]) -> Result<(), HubError> {
    let needed: u64 = files
        .iter()
        .map(|file| file.bytes.saturating_sub(cached.begun(file)))
        .fold(0, u64::saturating_add);
    let Some(free) = cached.free() else {
        return Ok(());
    };
    if needed.saturating_add(RESERVE) <= free || needed == 0 {
        return Ok(());
    }
    Err(HubError::NoRoom {
        directory: cached.cache().to_owned(),
        available: size(free),
        needed: size(needed),
    })
}
