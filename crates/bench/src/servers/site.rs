//! What the benchmark has made on one server: users and rooms, made once and used by all scenarios.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Error;
use super::devices::Devices;
use super::fan_out::Listener;
use super::send::Sender;
use super::start::Server;
use super::syncs::Readers;
use super::target::Target;
use super::user::User;

/// How many requests are made at once where nothing is measured.
const AT_ONCE: usize = 4;
/// How much is told of a failure.
const FAILURE_CHARS: usize = 200;

/// One server and what was made on it.
#[derive(Debug)]
pub struct Site {
    /// The server.
    pub target: Target,
    /// Its processes and files, if it was started here.
    pub server: Option<Server>,
    /// Users; all are members of the first room, and those of the fan-out of its room.
    pub users: Vec<User>,
    /// Rooms; the first user is in all of them.
    pub rooms: Arc<[String]>,
    /// Who listens to messages; each is in the room `listened`.
    pub listeners: Vec<Listener>,
    /// The room of the listeners, made by the first user.
    pub listened: Option<String>,
    /// Who syncs, where syncs are measured.
    pub readers: Option<Readers>,
    /// Devices with keys, where encryption is measured.
    pub devices: Devices,
    /// Who joins rooms of another server, where that is measured.
    pub guest: Option<User>,
    /// Why it is no longer measured, once it isn't.
    pub failure: Option<String>,
}

impl Site {
    /// A server on which nothing was made yet.
    #[must_use]
    pub fn new(target: Target, server: Option<Server>) -> Self {
        Self {
            target,
            server,
            users: Vec::new(),
            rooms: Arc::new([]),
            listeners: Vec::new(),
            listened: None,
            readers: None,
            devices: Devices::default(),
            guest: None,
            failure: None,
        }
    }

    /// Whether it is the floor.
    #[must_use]
    pub fn is_floor(&self) -> bool {
        self.server.as_ref().is_some_and(Server::is_floor)
    }

    /// Whether it knows other servers.
    #[must_use]
    pub fn has_federation(&self) -> bool {
        self.target.federation.is_some()
    }

    /// It is measured no longer: `error` says why, on one line that fits into a table.
    pub fn fail(&mut self, error: &Error) {
        let text = error.to_string().replace('|', "/");
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = words.join(" ");
        self.failure = Some(line.chars().take(FAILURE_CHARS).collect());
    }

    /// Registers users until there are `count`, or until `patience` is over.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn want_users(
        &mut self,
        run: &str,
        count: usize,
        patience: Duration,
    ) -> Result<(), Error> {
        let names: Vec<String> = (self.users.len() + self.listeners.len()..count)
            .map(|number| format!("u{run}.{number}"))
            .collect();
        let target = self.target.clone();
        let made = in_parallel(names, patience, move |name| {
            let target = target.clone();
            async move { User::register(&target, &name).await }
        });
        self.users.extend(made.await?);
        self.users.sort_by_key(|user| number_of(user.name()));
        Ok(())
    }

    /// Makes `count` rooms that are sent to. As many users as the largest of `groups` says are in the first room, and each
    /// is in the rooms that it sends to when so many users send as a number of `groups` says.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn want_rooms(&mut self, count: usize, groups: &[usize]) -> Result<(), Error> {
        let Some(creator) = self.users.first_mut() else {
            return Ok(());
        };
        let mut rooms = Vec::new();
        for _ in 0..count {
            rooms.push(creator.create_room().await?);
        }
        self.rooms = rooms.into();
        let most = groups.iter().copied().max().unwrap_or(0);
        let rooms = self.rooms.clone();
        for (index, user) in self.users.iter_mut().enumerate().take(most).skip(1) {
            let mut joined: Vec<usize> = groups
                .iter()
                .filter(|&&senders| index < senders)
                .flat_map(|&senders| share(count, senders, index))
                .chain([0])
                .collect();
            joined.sort_unstable();
            joined.dedup();
            for room in joined.iter().filter_map(|&room| rooms.get(room)) {
                user.join(room).await?;
            }
        }
        Ok(())
    }

    /// Takes `count` senders, who send to the first room only or who share all rooms among them.
    #[must_use]
    pub fn take_senders(&mut self, count: usize, is_one_room: bool) -> Vec<Sender> {
        let rooms = self.rooms.clone();
        let users = self.users.drain(..count.min(self.users.len()));
        users
            .enumerate()
            .map(|(index, user)| {
                let numbers = if is_one_room {
                    vec![0]
                } else {
                    share(rooms.len(), count, index)
                };
                let rooms = numbers.iter().filter_map(|&room| rooms.get(room).cloned());
                Sender {
                    user,
                    rooms: rooms.collect(),
                }
            })
            .collect()
    }

    /// Gives senders back, in any order.
    pub fn return_senders(&mut self, senders: Vec<Sender>) {
        let mut users: Vec<User> = senders.into_iter().map(|sender| sender.user).collect();
        users.append(&mut self.users);
        // Who is in which room depends on the order.
        users.sort_by_key(|user| number_of(user.name()));
        self.users = users;
    }

    /// Makes listeners until there are `count`, or until `patience` is over: of all users but the first, then of new ones.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn want_listeners(
        &mut self,
        run: &str,
        count: usize,
        patience: Duration,
    ) -> Result<(), Error> {
        self.want_users(run, 1, patience).await?;
        if self.listened.is_none()
            && let Some(creator) = self.users.first_mut()
        {
            self.listened = Some(creator.create_room().await?);
        }
        let room = self.listened.clone().unwrap_or_default();
        let wanted = count.saturating_sub(self.listeners.len());
        let made_so_far = self.users.len() + self.listeners.len();
        let mut users = self.users.split_off(1.min(self.users.len())).into_iter();
        let known: Vec<User> = users.by_ref().take(wanted).collect();
        self.users.extend(users);
        let names = (made_so_far..).map(|number| Joining::New(format!("u{run}.{number}")));
        let joining = known.into_iter().map(Joining::Known).chain(names);
        let target = self.target.clone();
        let joining = joining.take(wanted).collect();
        let made = in_parallel(joining, patience, move |joining| {
            let (room, target) = (room.clone(), target.clone());
            async move {
                let mut user = match joining {
                    Joining::Known(user) => user,
                    Joining::New(name) => User::register(&target, &name).await?,
                };
                user.join(&room).await?;
                let since = user.sync(None, 0).await?.next_batch;
                user.hang_up();
                Ok(Listener { user, since })
            }
        });
        self.listeners.extend(made.await?);
        Ok(())
    }

    /// Ends the server and starts it anew, with its data, if it was started here and can be.
    ///
    /// # Errors
    /// When it doesn't start.
    pub async fn restart(&mut self) -> Result<(), Error> {
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        server.restart().await?;
        self.target = server.target.clone();
        let listeners = self.listeners.iter_mut();
        let users = listeners.map(|listener| &mut listener.user);
        let users = users.chain(&mut self.users).chain(&mut self.guest);
        let users = users.chain(self.devices.users());
        users.for_each(User::hang_up);
        Ok(())
    }
}

/// Who is to join.
enum Joining {
    Known(User),
    New(String),
}

/// The numbers of the rooms of which sender `index` of `senders` takes care.
fn share(rooms: usize, senders: usize, index: usize) -> Vec<usize> {
    (0..rooms).filter(|room| room % senders == index).collect()
}

fn number_of(name: &str) -> usize {
    let number = name.rsplit_once('.').map(|(_, number)| number.parse());
    number.and_then(Result::ok).unwrap_or(usize::MAX)
}

/// Does `work` for all of `inputs`, some at once, and begins nothing more when `patience` is over. The order is kept as
/// far as work ends in it.
pub(super) async fn in_parallel<I, O, F>(
    inputs: Vec<I>,
    patience: Duration,
    work: impl Fn(I) -> F,
) -> Result<Vec<O>, Error>
where
    O: Send + 'static,
    F: Future<Output = Result<O, Error>> + Send + 'static,
{
    let until = Instant::now() + patience;
    let mut inputs = inputs.into_iter();
    let mut working = JoinSet::new();
    let mut outputs = Vec::new();
    loop {
        while working.len() < AT_ONCE && Instant::now() < until {
            let Some(input) = inputs.next() else { break };
            working.spawn(work(input));
        }
        match working.join_next().await {
            Some(ended) => outputs.push(ended??),
            None => return Ok(outputs),
        }
    }
}
