//! `health.lua` in Lua 5.1, with the libraries that Argo CD gives to a script, and no others.

use std::path::Path;

use mlua::{Lua, LuaSerdeExt, StdLib, Table, serde::SerializeOptions};
use serde_json::Value;

use super::expected::Argo;

/// The script.
pub struct Script {
    lua: Lua,
    text: String,
}

impl Script {
    /// Reads it.
    pub fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Base is always there. Argo CD has tables besides, and neither strings nor mathematics.
        let lua = Lua::new_with(StdLib::TABLE, mlua::LuaOptions::default()).expect("Lua");
        Self { lua, text }
    }

    /// Health and message of an object.
    pub fn health(&self, object: &Value) -> (Argo, String) {
        // What is null in JSON isn't there in Lua.
        let options = SerializeOptions::new().serialize_none_to_null(false).serialize_unit_to_null(false);
        let object = self.lua.to_value_with(object, options).expect("an object");
        self.lua.globals().set("obj", object).expect("a global");
        let health: Table = self.lua.load(&self.text).set_name("health.lua").eval().expect("a table");
        let word: String = health.get("status").expect("a status");
        let message: Option<String> = health.get("message").expect("a message, or none");
        let health = Argo::parse(&word).unwrap_or_else(|| panic!("Argo CD knows no health {word:?}"));
        (health, message.unwrap_or_default())
    }
}
