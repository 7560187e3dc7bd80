"""Where a file is dropped or chosen: the library's own head and list of files have buttons without a name."""

from pathlib import Path

from nicegui import ui

_HEAD = """<label class="column q-pa-sm cursor-pointer"><span>LABEL</span>
<input type="file" @change="props.addFiles($event.target.files); $event.target.value = ''"></label>"""
_FILES = """<div v-for="file in props.files" :key="file.__key" class="tally-text">
{{ file.name }}: {{ file.__progressLabel }} of {{ file.__sizeLabel }}</div>"""


def named(upload: ui.upload, label: str) -> ui.upload:
    """Give an upload a native field of that name, and a list of files without buttons."""
    upload.add_slot("header", _HEAD.replace("LABEL", label))
    upload.add_slot("list", _FILES)
    return upload


def name_of(name: str) -> str:
    """Return the last part of a file's name: a browser may send a path, and an uploader anything."""
    # Of a name's characters browsers write the double quote so, and only it can stand in a key as it is.
    last = Path(name.replace("\\", "/").replace("\0", "").replace("%22", '"')).name
    return "file" if last in {"", ".", ".."} else last
