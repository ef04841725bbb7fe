//! Changing a request or a notification without writing it anew.

use super::{Asked, Notification, Request};
use crate::{Json, RequestId, Splice, json::offset_of};

/// A request on its way to another peer: its id, and parts of its parameters,
/// become others; every other byte stays.
#[derive(Debug)]
#[must_use = "nothing is changed before `finish`"]
pub struct Rewrite<'a> {
    request: &'a Request,
    splice: Splice,
    id: Option<RequestId>,
}

// === impl Rewrite ===

impl<'a> Rewrite<'a> {
    pub(super) fn of(request: &'a Request) -> Self {
        let splice = Splice::of(&Json::trusted(request.0.text.clone()));
        Self { request, splice, id: None }
    }

    /// Gives the request another id.
    pub fn id(mut self, id: RequestId) -> Self {
        self.splice = self.splice.cut(self.request.0.id_at.clone(), id.to_json().into_bytes());
        self.id = Some(id);
        self
    }

    /// Puts `with` in the place of `part`, which was cut out of the
    /// request's parameters.
    ///
    /// # Panics
    ///
    /// Where it was not.
    pub fn replace(mut self, part: &Json, with: &Json) -> Self {
        self.splice = self.splice.replace(part, with);
        self
    }

    /// Adds a member to `object`, which was cut out of the request's
    /// parameters and has no member of that name.
    ///
    /// # Panics
    ///
    /// Where it is no object or was not cut out of them.
    pub fn insert(mut self, object: &Json, name: &str, value: &Json) -> Self {
        self.splice = self.splice.insert(object, name, value);
        self
    }

    /// The changed request.
    #[must_use]
    pub fn finish(self) -> Request {
        let old = &*self.request.0;
        let mut id_at = old.id_at.clone();
        let mut params_at =
            old.params.as_ref().map_or(0..0, |params| offset_of(&old.text, params.as_bytes()));
        let text = self.splice.finish_and_map(&mut [&mut id_at, &mut params_at]);
        let params = old.params.is_some().then(|| Json::trusted(text.slice(params_at)));
        let id = self.id.unwrap_or_else(|| old.id.clone());
        Request::of(Asked { text, id, id_at, method: old.method.clone(), params })
    }
}

// === impl Notification ===

impl Notification {
    /// The same notification with `with` in the place of `part`, which was
    /// cut out of its parameters.
    ///
    /// # Panics
    ///
    /// Where it was not.
    #[must_use]
    pub fn replace(&self, part: &Json, with: &Json) -> Self {
        let mut params_at =
            self.params.as_ref().map_or(0..0, |params| offset_of(&self.text, params.as_bytes()));
        let whole = Json::trusted(self.text.clone());
        let text = Splice::of(&whole).replace(part, with).finish_and_map(&mut [&mut params_at]);
        let params = self.params.is_some().then(|| Json::trusted(text.slice(params_at)));
        Self { text, method: self.method.clone(), params }
    }
}
