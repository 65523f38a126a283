-- The alerts of an address in their order: a page of them reads no more than a page, however many
-- there are. What was there goes at the end, so that nobody who reads waits for long.

CREATE INDEX alerts_src_id ON alerts (src, id);
CREATE INDEX alerts_dst_id ON alerts (dst, id);
DROP INDEX alerts_src;
DROP INDEX alerts_dst;
