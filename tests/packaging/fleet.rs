//! The examples of docs/fleet.md: what cloud-init and Ansible would say of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{bins, python, skip};
use serde_json::Value;

const ANSIBLE: &str = "ansible-core==2.19.14";

/// Blocks of YAML on the page, in their order.
fn blocks() -> Vec<String> {
    let page = fs::read_to_string(bins::workspace().join("docs/fleet.md")).unwrap();
    page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn json(bin: &Path, yaml: &str) -> Value {
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.argv[1]), sys.stdout)";
    let output = Command::new(bin.join("python")).args(["-c", script, yaml]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_playbook_is_one() {
    let bin = match python::programs("ansible", &[ANSIBLE], &["ansible-playbook"]) {
        Ok(bin) => bin,
        Err(why) => return skip::say(&why),
    };
    let playbooks: Vec<String> = blocks().into_iter().filter(|block| block.contains("hosts:")).collect();
    assert!(!playbooks.is_empty(), "docs/fleet.md shows no playbook");
    for playbook in playbooks {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("playbook.yml");
        fs::write(&file, playbook).unwrap();
        let output = Command::new(bin.join("ansible-playbook"))
            .args(["--syntax-check", "-i", "localhost,"])
            .arg(&file)
            .current_dir(folder.path())
            .env("ANSIBLE_HOME", folder.path())
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// cloud-init is no package of PyPI; what it asks of the modules that are used here is asked here. A name that it does not know is a
/// warning in its log, which nobody reads at a first boot.
#[test]
fn the_user_data_is_what_cloud_init_takes() {
    let bin = match python::programs("ansible", &[ANSIBLE], &["ansible-playbook"]) {
        Ok(bin) => bin,
        Err(why) => return skip::say(&why),
    };
    let found: Vec<String> =
        blocks().into_iter().filter(|block| block.starts_with("#cloud-config\n")).collect();
    assert!(!found.is_empty(), "docs/fleet.md shows no user data");
    for text in found {
        let data = json(&bin, &text);
        for (module, items) in data.as_object().unwrap() {
            let items = items.as_array().unwrap_or_else(|| panic!("{module} is no list"));
            match module.as_str() {
                "write_files" => items.iter().for_each(file),
                "runcmd" => items.iter().for_each(|command| {
                    let is_command = command.is_string()
                        || command
                            .as_array()
                            .is_some_and(|words| !words.is_empty() && words.iter().all(Value::is_string));
                    assert!(is_command, "{command}");
                }),
                other => panic!("{other} is no module that is looked at here: add it"),
            }
        }
    }
}

fn file(file: &Value) {
    for (key, value) in file.as_object().unwrap() {
        assert!(
            ["path", "permissions", "owner", "content", "append", "encoding", "defer"]
                .contains(&key.as_str()),
            "{key}"
        );
        if key == "permissions" {
            let mode = value.as_str().unwrap_or_else(|| panic!("{value} is a number to YAML: quote it"));
            assert!(mode.len() == 4 && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit)), "{mode}");
        }
    }
    assert!(file["path"].as_str().is_some_and(|path| path.starts_with('/')), "{file}");
    assert!(file["content"].is_string(), "{file}");
}
