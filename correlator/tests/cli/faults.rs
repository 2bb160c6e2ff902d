//! What is wrong with a call or its files: said once, with the name of the thing and the way out.

use std::fs;

use crate::{call, groundtrail};

#[test]
fn an_input_in_which_nothing_is_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("nothing.json"), "").unwrap();
    fs::write(folder.path().join("no-records.json"), "{\"Records\":[]}").unwrap();
    for path in ["empty", "nothing.json", "no-records.json"] {
        let ended = groundtrail(folder.path(), &["replay", "--cloudtrail", path], "");
        assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{}", ended.stderr);
        let said = format!("warning: cloudtrail {path}: no event is in it");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    }
    fs::write(folder.path().join("call.json"), call("1", "ListUsers")).unwrap();
    let ended = groundtrail(folder.path(), &["replay", "--cloudtrail", "call.json"], "");
    assert!(!ended.stderr.contains("no event is in it"), "{}", ended.stderr);
}

#[test]
fn a_call_that_lacks_something_says_every_way_to_give_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("call.json"), call("1", "ListUsers")).unwrap();
    fs::write(folder.path().join("there.toml"), "").unwrap();
    fs::write(folder.path().join("bin"), [0xff, 0xfe, 0]).unwrap();
    fs::write(folder.path().join("bin.toml"), "[[indicators]]\npath = \"bin\"\nprovider = \"x\"\n").unwrap();
    fs::create_dir(folder.path().join("emptydir")).unwrap();
    let events = ["--events", "call.json"];
    let columns = ["query", "-e", "any where true", "--columns", "event.acton", "--events", "call.json"];
    let computed = ["query", "-e", "FROM * | STATS n = COUNT(*)", "--columns", "m", "--events", "call.json"];
    let cases: &[(&[&str], i32, &str)] = &[
        (&[&["query"], &events[..]].concat(), 2, "give -e QUERY"),
        (&["ca", "issue"], 2, "--host ID for a sensor, or --server NAME"),
        (&["query", "-e", "any where event.acton == 1", "--events", "call.json"], 2, "GT101"),
        (&columns, 2, "did you mean \"event.action\"?"),
        (&computed, 2, "no field is called \"m\""),
        (
            &["query", "-e", "any where true", "--events", "nope"],
            1,
            "there is no file or folder at this path",
        ),
        (&["-c", "nofile.toml", "rules", "list"], 2, "error: cannot read \"nofile.toml\""),
        (&["-c", "emptydir", "rules", "list"], 2, "name the file itself"),
        (&["-c", "bin.toml", "check", "-q"], 1, "it is no text: save it as UTF-8"),
        (&["rule", "fmt", "nofile.toml"], 3, "cannot read \"nofile.toml\""),
        (&["rule", "new", "x", "-o", "there.toml"], 3, "it is there already, and is left alone"),
        (&["man", "there.toml"], 3, "this is a file: name a folder"),
    ];
    for (args, code, said) in cases {
        let ended = groundtrail(folder.path(), args, "");
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, *code, "{args:?}: {told}");
        assert!(told.contains(said), "{args:?}: {told}");
        assert!(!told.contains("see above"), "{args:?}: {told}");
    }
    let socket = groundtrail(folder.path(), &["run", "--sensor", "unix:/nonexistent/s.sock"], "");
    assert_eq!(socket.code, 3, "{}", socket.stderr);
    assert_eq!(socket.stderr.matches("/nonexistent/s.sock").count(), 1, "{}", socket.stderr);
    let shown = ["query", "-e", "FROM * | STATS n = COUNT(*)", "--columns", "n", "--events", "call.json"];
    assert_eq!(groundtrail(folder.path(), &shown, "").code, 0);
    let of_event =
        ["query", "-e", "any where true", "--columns", "_id,event.action", "--events", "call.json"];
    assert_eq!(groundtrail(folder.path(), &of_event, "").code, 0);
}
