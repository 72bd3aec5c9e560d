"""The tables of a study: SQLite, one file; see docs/formats.md."""

from __future__ import annotations

VERSION = 1  # in user_version; increase with every change of the tables
APPLICATION_ID = 0x46454352  # "FECR": tells a study from other files of SQLite

TABLES = """
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL                        -- JSON
) WITHOUT ROWID;

CREATE TABLE faces (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,                 -- path in the source, as in exported tables
    file TEXT NOT NULL,                        -- picture in the folder faces/
    subject TEXT NOT NULL,                     -- person; empty where unknown
    label TEXT NOT NULL,                       -- class; empty where unknown
    split TEXT NOT NULL
);

CREATE TABLE triplets (
    id INTEGER PRIMARY KEY,
    a INTEGER NOT NULL REFERENCES faces,
    b INTEGER NOT NULL REFERENCES faces,
    c INTEGER NOT NULL REFERENCES faces,
    type INTEGER,                              -- 0 one, 1 two, 2 three classes; NULL without labels
    strategy TEXT NOT NULL,
    round INTEGER NOT NULL,                    -- from 1
    known INTEGER CHECK (known IN (0, 1, 2)),  -- the odd face of a control; else NULL
    wanted INTEGER NOT NULL,                   -- answers, of as many raters
    most INTEGER NOT NULL,                     -- to which wanted may rise where the votes split
    given INTEGER NOT NULL DEFAULT 0,          -- tasks of it that are answered or may still be
    shuffle INTEGER NOT NULL,                  -- order in which triplets are asked
    CHECK (a < b AND b < c)
);
CREATE UNIQUE INDEX triplets_once ON triplets (a, b, c);
CREATE INDEX triplets_open ON triplets (round DESC, given DESC, shuffle) WHERE known IS NULL AND given < wanted;
CREATE INDEX triplets_known ON triplets (shuffle) WHERE known IS NOT NULL;

CREATE TABLE raters (
    id INTEGER PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE,           -- sha256 of the token in the personal link
    origin TEXT NOT NULL,                      -- 'invited', or 'open' for the open link
    created REAL NOT NULL,                     -- seconds since 1970, as all times here
    excluded INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE tasks (
    id INTEGER PRIMARY KEY,
    rater INTEGER NOT NULL REFERENCES raters,
    number INTEGER NOT NULL,                   -- from 1, in the order in which the rater sees them
    triplet INTEGER NOT NULL REFERENCES triplets,
    again INTEGER NOT NULL,                    -- 1: asked a second time, a control
    shown TEXT NOT NULL,                       -- the faces from left to right, such as 201 for c, a, b
    given_at REAL NOT NULL,
    released INTEGER NOT NULL DEFAULT 0,       -- 1: not answered for so long that another rater is asked
    UNIQUE (rater, number),
    UNIQUE (rater, triplet, again)
);
CREATE INDEX tasks_of_triplets ON tasks (triplet);

CREATE TABLE answers (
    id INTEGER PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES tasks,
    key TEXT NOT NULL UNIQUE,                  -- made by the page: the same answer sent again is not another one
    choice INTEGER CHECK (choice IN (0, 1, 2)),  -- the odd face by its place in the triplet; NULL: cannot tell
    seconds REAL NOT NULL,                     -- for which the page showed the question
    answered_at REAL NOT NULL,
    replaced_at REAL                           -- the rater went back and answered anew; NULL: this one counts
);
CREATE UNIQUE INDEX answers_once ON answers (task) WHERE replaced_at IS NULL;
"""
