//! Which column a key is: the keys of all objects so far as a tree, and the names of the columns.
//!
//! Promise: a column is named by the keys that lead to it, joined by dots, in the order of first appearance. Names are
//! unique: where a key holds a dot and its name is taken, it is `a.b.1`. Records that repeat each other's keys in the same
//! order cost one comparison a key; any order gives the same columns. Memory is bounded, also by a record that is refused.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::json::batch::{Unescaped, unescape};
use crate::json::read::{Reader, Stop};
use crate::limits::Limits;

/// No node, or no column.
const NONE: u32 = u32::MAX;
/// The record itself.
pub(super) const ROOT: u32 = 0;
/// The key of a record that is no object.
const VALUE: &[u8] = b"value";

/// A key, below the keys that lead to it.
struct Node {
    parent: u32,
    /// Where the key lies in `Paths::keys`.
    start: u32,
    len: u32,
    /// Whether the key is written as it is, so that it can be compared without a look at escapes.
    plain: bool,
    column: u32,
    /// What came first in this object the last time, and what came behind this key.
    first: u32,
    next: u32,
}

/// All keys so far.
pub(super) struct Paths {
    nodes: Vec<Node>,
    keys: Vec<u8>,
    /// By parent and key.
    index: HashMap<Vec<u8>, u32, RandomState>,
    wanted: Vec<u8>,
    columns: u32,
    /// The names of the columns, with the number that the next equal one gets.
    taken: HashMap<String, usize, RandomState>,
    names_bytes: usize,
    columns_max: usize,
    names_bytes_max: usize,
}

/// A key that was read.
pub(super) struct Key {
    pub(super) node: u32,
    /// Whether it has a surrogate without its other half.
    pub(super) lone: bool,
}

impl Paths {
    pub(super) fn new(limits: &Limits) -> Paths {
        let root =
            Node { parent: NONE, start: 0, len: 0, plain: false, column: NONE, first: NONE, next: NONE };
        Paths {
            nodes: vec![root],
            keys: Vec::new(),
            index: HashMap::default(),
            wanted: Vec::new(),
            columns: 0,
            taken: HashMap::default(),
            names_bytes: 0,
            columns_max: limits.columns_max,
            names_bytes_max: limits.header_bytes_max,
        }
    }

    /// How many nodes there are; those that come after can be forgotten.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The key behind the quote where the reader stands, in the object `parent`, after its key `previous`.
    #[inline]
    pub(super) fn key(
        &mut self,
        reader: &mut Reader<'_>,
        parent: u32,
        previous: Option<u32>,
    ) -> Result<Key, Stop> {
        let expected =
            previous.map_or(self.nodes[parent as usize].first, |node| self.nodes[node as usize].next);
        if let Some(node) = self.nodes.get(expected as usize)
            && node.plain
            && node.parent == parent
            && reader.take(&self.keys[node.start as usize..][..node.len as usize])
        {
            return Ok(Key { node: expected, lone: false });
        }
        self.unexpected(reader, parent, previous)
    }

    /// A key that is not the one that was there the last time.
    #[cold]
    fn unexpected(
        &mut self,
        reader: &mut Reader<'_>,
        parent: u32,
        previous: Option<u32>,
    ) -> Result<Key, Stop> {
        let start = reader.at;
        let (end, escaped) = reader.string()?;
        let mut lone = false;
        let node = if escaped {
            let mut key = reader.bytes[start..end].to_vec();
            let len = key.len();
            let unescaped: Unescaped = unescape(&mut key, 0, len);
            lone = unescaped.lone;
            self.child(parent, &key[..unescaped.end])?
        } else {
            self.child(parent, &reader.bytes[start..end])?
        };
        match previous {
            Some(previous) => self.nodes[previous as usize].next = node,
            None => self.nodes[parent as usize].first = node,
        }
        Ok(Key { node, lone })
    }

    /// Where the value of a record belongs that is no object.
    pub(super) fn value(&mut self) -> Result<u32, Stop> {
        self.child(ROOT, VALUE)
    }

    /// The node of a key, found or made.
    fn child(&mut self, parent: u32, key: &[u8]) -> Result<u32, Stop> {
        self.wanted.clear();
        self.wanted.extend_from_slice(&parent.to_le_bytes());
        self.wanted.extend_from_slice(key);
        if let Some(&node) = self.index.get(&self.wanted) {
            return Ok(node);
        }
        // Beside the keys of columns as many of nested objects.
        if self.nodes.len() > self.columns_max * 2 {
            return Err(self.too_many());
        }
        if self.keys.len() + key.len() > self.names_bytes_max {
            return Err(self.too_long());
        }
        let node = self.nodes.len() as u32;
        let plain = !key.iter().any(|byte| matches!(byte, b'"' | b'\\' | ..0x20));
        let (start, len) = (self.keys.len() as u32, key.len() as u32);
        self.keys.extend_from_slice(key);
        self.nodes.push(Node { parent, start, len, plain, column: NONE, first: NONE, next: NONE });
        self.index.insert(self.wanted.clone(), node);
        Ok(node)
    }

    /// Forgets the nodes that came after these many, those of a record that is none.
    pub(super) fn forget(&mut self, len: usize) {
        while self.nodes.len() > len.max(1) {
            let Some(node) = self.nodes.pop() else { return };
            self.wanted.clear();
            self.wanted.extend_from_slice(&node.parent.to_le_bytes());
            self.wanted.extend_from_slice(&self.keys[node.start as usize..]);
            self.index.remove(&self.wanted);
            self.keys.truncate(node.start as usize);
        }
    }

    /// The column of a node; a new one's name goes to `names`.
    #[inline]
    pub(super) fn column(&mut self, node: u32, names: &mut Vec<String>) -> Result<u32, Stop> {
        match self.nodes[node as usize].column {
            NONE => self.new_column(node, names),
            column => Ok(column),
        }
    }

    #[cold]
    fn new_column(&mut self, node: u32, names: &mut Vec<String>) -> Result<u32, Stop> {
        if self.columns as usize >= self.columns_max {
            return Err(self.too_many());
        }
        let name = self.unique(self.name(node));
        self.names_bytes += name.len();
        if self.names_bytes > self.names_bytes_max {
            return Err(self.too_long());
        }
        self.taken.insert(name.clone(), 1);
        names.push(name);
        self.nodes[node as usize].column = self.columns;
        self.columns += 1;
        Ok(self.columns - 1)
    }

    /// The keys that lead to a node, joined by dots.
    fn name(&self, node: u32) -> String {
        let mut keys = Vec::new();
        let mut at = node;
        while at != ROOT && at != NONE {
            let node = &self.nodes[at as usize];
            keys.push(String::from_utf8_lossy(&self.keys[node.start as usize..][..node.len as usize]));
            at = node.parent;
        }
        keys.reverse();
        keys.join(".")
    }

    fn unique(&mut self, name: String) -> String {
        let Some(mut number) = self.taken.get(&name).copied() else { return name };
        let mut other = format!("{name}.{number}");
        while self.taken.contains_key(&other) {
            number += 1;
            other = format!("{name}.{number}");
        }
        self.taken.insert(name, number + 1);
        other
    }

    fn too_many(&self) -> Stop {
        let columns = self.columns_max;
        Stop::Limit(format!("there are more than {columns} columns; are values used as keys?"))
    }

    fn too_long(&self) -> Stop {
        Stop::Limit(format!("the column names are longer than {} bytes", self.names_bytes_max))
    }
}
