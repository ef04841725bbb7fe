//! Keeps what is known of an upstream's offer true, for as long as there are
//! clients of `/mcp`, and announces what changes.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use futures_util::future::join_all;
use tokio::{
    sync::watch,
    time::{Duration, Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wharf_pool::Session;
use wharf_proto::Message;

use crate::{
    bulletin::{Bulletin, Reader},
    catalogue::{Change, Kind, Listing},
    fleet::Fleet,
    heard::Pause,
    roster::Roster,
    upstream::Upstream,
};

/// How long changes are gathered before they are announced: an upstream tells
/// each of its sessions of the same one.
const GATHERING: Duration = Duration::from_millis(100);

/// How soon an upstream is asked again that could not give its lists.
const RETRY: Duration = Duration::from_secs(2);

/// Who looks after the catalogues of all upstreams.
pub(crate) struct Lookouts {
    fleet: Arc<Fleet>,
    bulletin: Arc<Bulletin>,
    watch: Mutex<Weak<Watch>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// While a client has one, somebody looks. The last to go ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    over: CancellationToken,
}

/// Who has each upstream looked after, whichever there are.
struct Follower {
    fleet: Arc<Fleet>,
    bulletin: Arc<Bulletin>,
    tasks: TaskTracker,
    over: CancellationToken,
    /// The highest number of those that are looked after.
    highest: Option<usize>,
}

/// Who looks after one upstream's catalogue.
struct Lookout {
    fleet: Arc<Fleet>,
    upstream: Arc<Upstream>,
    bulletin: Arc<Bulletin>,
    /// The lists as they were when they were last looked at or announced.
    known: [Known; Kind::ALL.len()],
}

/// What is known of a list.
#[derive(Clone, Default)]
enum Known {
    /// Nobody has asked for it.
    #[default]
    Nothing,
    /// It could not be had.
    Gone,
    This(Arc<Listing>),
}

// === impl Lookouts ===

impl Lookouts {
    pub(crate) fn new(fleet: Arc<Fleet>) -> Self {
        Self {
            fleet,
            bulletin: Arc::default(),
            watch: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Reads what is announced from now on.
    pub(crate) fn reader(&self) -> Reader {
        self.bulletin.reader()
    }

    /// Has the upstreams looked after for as long as this is kept.
    pub(crate) fn watch(&self) -> Arc<Watch> {
        let mut watch = self.lock();
        if let Some(watch) = watch.upgrade() {
            return watch;
        }
        let begun = Arc::new(Watch { over: self.stop.child_token() });
        let mut follower = Follower {
            fleet: Arc::clone(&self.fleet),
            bulletin: Arc::clone(&self.bulletin),
            tasks: self.tasks.clone(),
            over: begun.over.clone(),
            highest: None,
        };
        let over = begun.over.clone();
        let mut roster = self.fleet.upstreams.follow();
        follower.look_after(&Arc::clone(&roster.borrow_and_update()), false);
        self.tasks.spawn(async move {
            over.run_until_cancelled(follower.follow(roster)).await;
        });
        *watch = Arc::downgrade(&begun);
        begun
    }

    /// Ends it all.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, Weak<Watch>> {
        self.watch.lock().expect("nothing panics while holding it")
    }
}

// === impl Watch ===

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

// === impl Follower ===

impl Follower {
    async fn follow(mut self, mut roster: watch::Receiver<Arc<Roster>>) {
        while roster.changed().await.is_ok() {
            self.look_after(&Arc::clone(&roster.borrow_and_update()), true);
        }
    }

    /// Has those looked after that are not yet. Of one that `is_new` clients
    /// have not been told.
    fn look_after(&mut self, roster: &Roster, is_new: bool) {
        let seen = self.highest;
        for upstream in roster.all().iter().filter(|upstream| Some(upstream.number) > seen) {
            self.highest = self.highest.max(Some(upstream.number));
            let lookout = Lookout::new(&self.fleet, upstream, &self.bulletin);
            let over = self.over.clone();
            self.tasks.spawn(async move {
                over.run_until_cancelled(lookout.look_out(is_new)).await;
            });
        }
    }
}

// === impl Lookout ===

impl Lookout {
    fn new(fleet: &Arc<Fleet>, upstream: &Arc<Upstream>, bulletin: &Arc<Bulletin>) -> Self {
        Self {
            fleet: Arc::clone(fleet),
            upstream: Arc::clone(upstream),
            bulletin: Arc::clone(bulletin),
            known: Default::default(),
        }
    }

    /// Looks for as long as there is the upstream. What one `is_new` brings is
    /// announced, and what goes with it.
    async fn look_out(mut self, is_new: bool) {
        let (fleet, upstream) = (Arc::clone(&self.fleet), Arc::clone(&self.upstream));
        let looking = async {
            if is_new {
                self.welcome().await;
            }
            self.look().await;
        };
        tokio::select! {
            _ = async { tokio::join!(listen(&fleet, &upstream), looking) } => {}
            () = upstream.dismissed() => {}
        }
        self.take_leave();
    }

    /// Announces what there is, and looks at it from now on.
    async fn welcome(&mut self) {
        let offered = join_all(Kind::ALL.map(|kind| self.fleet.listing(&self.upstream, kind)));
        for (kind, offered) in Kind::ALL.into_iter().zip(offered.await) {
            self.known[kind as usize] = offered.map_or(Known::Gone, Known::This);
        }
        self.announce_what_is_known();
    }

    /// Announces that what there was is there no more.
    fn take_leave(&mut self) {
        for kind in Kind::ALL {
            self.known[kind as usize] = self.shown(kind);
        }
        self.announce_what_is_known();
    }

    fn announce_what_is_known(&self) {
        let is_known = |kind: &Kind| self.known[*kind as usize].has_items();
        for change in Change::ALL {
            if change.kinds().iter().any(is_known) {
                self.bulletin.announce(change);
            }
        }
    }

    /// Looks at what has changed, as it is told of and now and then.
    async fn look(&mut self) {
        loop {
            let pause = if self.is_missed() { RETRY } else { self.fleet.settings.list_lifetime };
            tokio::select! {
                () = self.upstream.catalogue.stirred() => {
                    sleep(GATHERING).await;
                    let (told, is_in_doubt) = self.upstream.catalogue.take_stir();
                    for change in &told {
                        self.announce(*change).await;
                    }
                    if is_in_doubt {
                        self.compare().await;
                    }
                }
                () = sleep(pause.max(GATHERING)) => self.compare().await,
            }
        }
    }

    fn is_missed(&self) -> bool {
        self.known.iter().any(|known| matches!(known, Known::Gone))
    }

    /// Announces a change that the upstream has told of. What comes of it is
    /// known then, and not announced again.
    async fn announce(&mut self, change: Change) {
        self.bulletin.announce(change);
        for kind in change.kinds() {
            self.known[*kind as usize] = self.current(*kind).await;
        }
    }

    /// Announces what is another than it was without having been told of.
    async fn compare(&mut self) {
        for kind in Kind::ALL {
            if let Known::Nothing = self.known[kind as usize] {
                self.known[kind as usize] = self.shown(kind);
            }
        }
        let current = join_all(Kind::ALL.map(|kind| self.current(kind))).await;
        let mut changes = Vec::new();
        for (kind, current) in Kind::ALL.into_iter().zip(current) {
            let before = std::mem::replace(&mut self.known[kind as usize], current);
            let is_same = before.is_same(&self.known[kind as usize]);
            if !is_same && !changes.contains(&kind.change()) {
                changes.push(kind.change());
            }
        }
        changes.into_iter().for_each(|change| self.bulletin.announce(change));
    }

    /// A list as clients were shown it last.
    fn shown(&self, kind: Kind) -> Known {
        match self.upstream.catalogue.list(kind).last() {
            None => Known::Nothing,
            Some(Err(_)) => Known::Gone,
            Some(Ok(listing)) => Known::This(listing),
        }
    }

    /// A list as it is now, if anybody has ever asked for it.
    async fn current(&self, kind: Kind) -> Known {
        if self.upstream.catalogue.list(kind).last().is_none() {
            return Known::Nothing;
        }
        self.fleet.listing(&self.upstream, kind).await.map_or(Known::Gone, Known::This)
    }
}

// === impl Known ===

impl Known {
    fn has_items(&self) -> bool {
        matches!(self, Self::This(listing) if !listing.items().is_empty())
    }

    /// Whether clients see no difference. What they have not asked for, they
    /// have not seen.
    fn is_same(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::This(before), Self::This(now)) => before.is_same(now),
            (Self::Gone, Self::This(_)) | (Self::This(_), Self::Gone) => false,
            (Self::Nothing, _) | (_, Self::Nothing) | (Self::Gone, Self::Gone) => true,
        }
    }
}

/// Hears of changes on Wharf's own session, over as many sessions as it takes.
async fn listen(fleet: &Fleet, upstream: &Upstream) {
    let mut pause = Pause::default();
    let mut was_away = false;
    loop {
        let Ok(lease) = fleet.lease(upstream, upstream.own_key()).await else {
            was_away = true;
            pause.rest().await;
            continue;
        };
        let (session, since) = (Session::clone(&lease), Instant::now());
        let mut inbound = session.listen();
        drop(lease);
        if was_away {
            // What happened meanwhile, nobody has told.
            upstream.catalogue.doubt();
        }
        while let Ok(message) = inbound.next().await {
            pause = Pause::default();
            if let Message::Notification(said) = message {
                upstream.catalogue.changed_by(said.method());
            }
        }
        was_away = true;
        pause.rest_after(since.elapsed(), session.close_reason().as_ref()).await;
    }
}
