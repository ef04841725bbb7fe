//! Which request a rule of the script is about.

use std::{fmt, sync::Arc};

use http::Method;

use super::Arrival;

/// Which requests, or which connections, a rule is about.
///
/// Each of its conditions has to hold. Of what is left, [`When::nth`] and its
/// like choose by number.
#[derive(Clone)]
pub struct When {
    subject: Subject,
    conditions: Vec<Condition>,
    turn: Turn,
    /// The conditions in words, for who debugs a script.
    words: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Request,
    Connection,
}

type Condition = Arc<dyn Fn(&Arrival) -> bool + Send + Sync>;

/// Which of those that fulfil the conditions, counted from 1.
#[derive(Debug, Clone, Copy)]
enum Turn {
    All,
    Nth(u64),
    First(u64),
    From(u64),
    Every(u64),
}

// === impl When ===

impl When {
    /// Any request.
    #[must_use]
    pub fn any() -> Self {
        Self::about(Subject::Request, "any request")
    }

    /// Any connection, as it is accepted. Of the faults only
    /// [`Hang`](super::Fault::Hang), [`Close`](super::Fault::Close) and
    /// [`ResetBeforeHeaders`](super::Fault::ResetBeforeHeaders) strike there.
    #[must_use]
    pub fn connect() -> Self {
        Self::about(Subject::Connection, "a connection")
    }

    /// A request or notification of this JSON-RPC method.
    #[must_use]
    pub fn method(name: &str) -> Self {
        let expected = name.to_owned();
        Self::any()
            .condition(format!("of {name}"), move |arrival| arrival.rpc() == Some(&*expected))
    }

    /// A call of this tool.
    #[must_use]
    pub fn tool(name: &str) -> Self {
        let expected = name.to_owned();
        Self::any()
            .condition(format!("of tool {name}"), move |arrival| arrival.tool() == Some(&*expected))
    }

    /// An HTTP request of this method: `GET` opens a stream, `DELETE` ends a
    /// session.
    #[must_use]
    pub fn http(method: Method) -> Self {
        Self::any().condition(format!("by {method}"), move |arrival| *arrival.http() == method)
    }

    /// The same, and at this path: `/mcp`, `/sse` or `/messages`.
    #[must_use]
    pub fn at(self, path: &str) -> Self {
        let expected = path.to_owned();
        self.condition(format!("at {path}"), move |arrival| arrival.path() == expected)
    }

    /// The same, and of the session of this number: the first to be opened is
    /// 1. `initialize` is of none.
    #[must_use]
    pub fn in_session(self, number: u64) -> Self {
        self.condition(format!("in session {number}"), move |arrival| {
            arrival.session() == Some(number)
        })
    }

    /// The same, and of which this holds.
    #[must_use]
    pub fn and(self, holds: impl Fn(&Arrival) -> bool + Send + Sync + 'static) -> Self {
        self.condition("that fulfils a condition".into(), holds)
    }

    /// Only the `n`th of these, counted from 1.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        self.turn(Turn::Nth(n))
    }

    /// Only the first `n` of these.
    #[must_use]
    pub fn first(self, n: u64) -> Self {
        self.turn(Turn::First(n))
    }

    /// Only the `n`th of these and all after it.
    #[must_use]
    pub fn from(self, n: u64) -> Self {
        self.turn(Turn::From(n))
    }

    /// Only every `n`th of these: of 20, one in twenty.
    ///
    /// # Panics
    ///
    /// Where `n` is 0.
    #[must_use]
    pub fn every(self, n: u64) -> Self {
        assert_ne!(n, 0, "every 0th is none and all");
        self.turn(Turn::Every(n))
    }

    pub(super) fn holds_for(&self, arrival: &Arrival) -> bool {
        self.subject == Subject::Request && self.conditions.iter().all(|holds| holds(arrival))
    }

    pub(super) fn is_about_connections(&self) -> bool {
        self.subject == Subject::Connection
    }

    /// Whether it is the turn of the `number`th that fulfils the conditions.
    pub(super) const fn is_turn_of(&self, number: u64) -> bool {
        match self.turn {
            Turn::All => true,
            Turn::Nth(n) => number == n,
            Turn::First(n) => number <= n,
            Turn::From(n) => number >= n,
            Turn::Every(n) => number.is_multiple_of(n),
        }
    }

    fn about(subject: Subject, words: &str) -> Self {
        Self { subject, conditions: Vec::new(), turn: Turn::All, words: vec![words.into()] }
    }

    fn condition(
        mut self,
        words: String,
        holds: impl Fn(&Arrival) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.conditions.push(Arc::new(holds));
        self.words.push(words);
        self
    }

    fn turn(self, turn: Turn) -> Self {
        Self { turn, ..self }
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "When({}; {:?})", self.words.join(" "), self.turn)
    }
}
