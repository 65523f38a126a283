-- Headers that belong to a kept answer as much as its body.

ALTER TABLE replays ADD COLUMN location TEXT COLLATE "C";
ALTER TABLE replays ADD COLUMN etag     TEXT COLLATE "C";
