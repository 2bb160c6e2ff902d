# The Python `eql` package over the same rules and events: argv is a folder of rule files and a file of events, a line each.
# Prints how many events a second of processor time are, and how many matches were found. It takes no lists (a list is no key
# of a Python set), so arguments are given as one text.
import glob, json, sys, time, tomllib

import eql
from eql.parser import elasticsearch_syntax

folder, events = sys.argv[1:]
engine = eql.PythonEngine()
with elasticsearch_syntax:
    for path in sorted(glob.glob(folder + "/*.toml")):
        with open(path, "rb") as file:
            engine.add_query(eql.parse_query(tomllib.load(file)["rule"]["query"]))
found = 0


def count(_):
    global found
    found += 1


engine.add_output_hook(count)
lines = open(events).read().splitlines()
began = time.process_time()
for number, line in enumerate(lines):
    event = json.loads(line)
    event["process"]["args"] = event["process"]["args"][-1]
    event["event"].update(category="process", type="start")
    engine.stream_event(eql.Event("process", number, event))
engine.finalize()
print(json.dumps({"events_per_s": len(lines) / (time.process_time() - began), "hits_per_event": found / len(lines)}))
