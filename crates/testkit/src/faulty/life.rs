//! The thread of an upstream: its port, its deaths and its returns.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime,
    sync::{mpsc, oneshot},
};

use super::{
    FaultySettings, Memory, Script, StartError, connection, record::Happening, shared::Shared,
};
use crate::site;

/// How long accepting pauses where the system has no more sockets to give.
const BREATH: Duration = Duration::from_millis(10);

/// What an upstream is told, and who waits until it has done so.
pub(super) struct Command {
    pub(super) order: Order,
    pub(super) done: Option<oneshot::Sender<io::Result<()>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Crash,
    Revive(Memory),
    Refuse,
    Stall,
    Admit,
}

pub(super) type Up = Result<(Arc<Shared>, SocketAddr), StartError>;

struct Life {
    shared: Arc<Shared>,
    /// Bound and never listening, so that nobody else gets the port while the
    /// door is shut.
    _port: TcpSocket,
    address: SocketAddr,
    door: Door,
    is_up: bool,
}

enum Door {
    Open(TcpListener),
    Shut,
    /// Nothing is accepted, and the queue of what is to be is full.
    Stuck {
        _listener: TcpListener,
        _plug: TcpStream,
    },
}

/// The life of the thread. When it returns, the runtime is dropped and with it
/// every task and every socket.
pub(super) fn live(
    script: Script,
    settings: FaultySettings,
    from_inside: mpsc::WeakUnboundedSender<Command>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    up: oneshot::Sender<Up>,
) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return drop(up.send(Err(StartError::Thread { source }))),
    };
    runtime.block_on(async {
        let shared = Shared::new(script, settings, from_inside);
        let mut life = match Life::begin(Arc::clone(&shared)) {
            Ok(life) => life,
            Err(source) => {
                let address = settings.addr;
                return drop(up.send(Err(StartError::Listen { address, source })));
            }
        };
        if up.send(Ok((shared, life.address))).is_ok() {
            life.run(&mut commands).await;
        }
    });
}

// === impl Life ===

impl Life {
    fn begin(shared: Arc<Shared>) -> io::Result<Self> {
        let port = site::bound(shared.settings.addr)?;
        let address = port.local_addr()?;
        let door = Door::open(address)?;
        Ok(Self { shared, _port: port, address, door, is_up: true })
    }

    async fn run(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) {
        loop {
            tokio::select! {
                command = commands.recv() => {
                    let Some(Command { order, done }) = command else { return };
                    let obeyed = self.obey(order).await;
                    if let Some(done) = done {
                        // Who gave the order may have given up waiting.
                        let _ = done.send(obeyed);
                    }
                }
                stream = self.door.accept() => {
                    let serving = connection::serve(Arc::clone(&self.shared), stream);
                    self.shared.spawn(serving);
                }
            }
        }
    }

    async fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Crash => self.crash().await,
            Order::Revive(memory) => {
                self.crash().await;
                if memory == Memory::Lost {
                    self.shared.sessions.forget_all();
                }
                self.door = Door::open(self.address)?;
                self.is_up = true;
                self.shared.record.happened(Happening::Revived);
            }
            // The dead do not change their ways.
            Order::Refuse | Order::Stall | Order::Admit if !self.is_up => {}
            Order::Refuse => self.door = Door::Shut,
            Order::Stall => {
                self.door = Door::Shut;
                self.door = Door::stuck(self.address).await?;
            }
            Order::Admit => {
                self.door = Door::Shut;
                self.door = Door::open(self.address)?;
            }
        }
        Ok(())
    }

    async fn crash(&mut self) {
        if !self.is_up {
            return;
        }
        self.is_up = false;
        self.door = Door::Shut;
        self.shared.record.happened(Happening::Crashed);
        self.shared.end_tasks().await;
    }
}

// === impl Door ===

impl Door {
    fn open(address: SocketAddr) -> io::Result<Self> {
        site::listen(address).map(Self::Open)
    }

    async fn stuck(address: SocketAddr) -> io::Result<Self> {
        // A queue of none holds one.
        let listener = site::bound(address)?.listen(0)?;
        let plug = TcpStream::connect(address).await?;
        Ok(Self::Stuck { _listener: listener, _plug: plug })
    }

    async fn accept(&self) -> TcpStream {
        let Self::Open(listener) = self else {
            return std::future::pending().await;
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
    }
}
