-- As before, with what was imported at the time at which it happened.
-- Who was in which group from when to when: a row for each stay. began and ended are places in the log of the partition of the
-- group (entry, event), so that a message sent at a place was for whom began < place < ended.
CREATE OR REPLACE VIEW members
(
    app          LowCardinality(String)         COMMENT 'org#app',
    `group`      LowCardinality(String),
    user         String,
    role         LowCardinality(String)         COMMENT 'owner, admin or member: the last one of this stay',
    joined_at    DateTime64(3, 'UTC')           COMMENT 'when the stay began',
    left_at      Nullable(DateTime64(3, 'UTC')) COMMENT 'when it ended; NULL = it goes on',
    dissolved_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when the group was dissolved; NULL = it was not',
    began        Tuple(UInt64, UInt32)          COMMENT 'place in the log at which the stay began',
    ended        Tuple(UInt64, UInt32)          COMMENT 'place at which it ended; beyond all others if it goes on'
) AS
WITH
    changes AS
    (
        SELECT app, `group`, tupleElement(one, 1) AS user, max(tupleElement(one, 2)) AS rank,
            any(kind) AS what, (sequence, `index`) AS place, any(happened_at) AS since
        FROM
        (
            SELECT app, `group`, kind, sequence, `index`, happened_at,
                arrayJoin(multiIf(
                    kind = 'group.created', arrayConcat([(toString(user), 3)],
                        arrayMap(x -> (x, 2), JSONExtract(extra, 'admins', 'Array(String)')),
                        arrayMap(x -> (x, 1), JSONExtract(extra, 'members', 'Array(String)'))),
                    kind = 'group.role', [(toString(user), JSONExtractUInt(extra, 'role'))],
                    [(toString(user), 1)])) AS one
            FROM events
            WHERE kind IN ('group.created', 'group.joined', 'group.left', 'group.role') AND outcome = 'applied' AND fact = 0
        )
        GROUP BY app, `group`, user, sequence, `index`
    ),
    stays AS
    (
        SELECT app, `group`, user,
            arraySort(groupArrayIf((place, since), what IN ('group.created', 'group.joined'))) AS joins,
            arraySort(groupArrayIf((place, since), what = 'group.left')) AS leaves,
            arraySort(groupArrayIf((place, rank), what != 'group.left')) AS ranks,
            arrayJoin(arrayEnumerate(joins)) AS n,
            joins[n] AS joined,
            if(n <= length(leaves), leaves[n].1, (18446744073709551615, 4294967295)) AS ended
        FROM changes
        GROUP BY app, `group`, user
    ),
    groups AS
    (
        -- Whoever becomes the owner makes an admin of who was it.
        SELECT app, `group`, groupArrayIf((sequence, `index`), kind = 'group.role' AND JSONExtractUInt(extra, 'role') = 3) AS handed,
            maxIf(happened_at, kind = 'group.dissolved') AS dissolved
        FROM events
        WHERE kind IN ('group.created', 'group.role', 'group.dissolved') AND outcome = 'applied' AND fact = 0
        GROUP BY app, `group`
    )
SELECT app, `group`, user,
    transform(multiIf(last.2 < 3, last.2, arrayExists(x -> x > last.1 AND x < ended, handed), 2, 3), [1, 2, 3], ['member', 'admin', 'owner'], '') AS role,
    joined.2 AS joined_at,
    if(n <= length(leaves), leaves[n].2, NULL) AS left_at,
    if(toUnixTimestamp64Milli(dissolved) = 0, NULL, dissolved) AS dissolved_at,
    joined.1 AS began,
    ended
FROM
(
    SELECT *, arrayLast(x -> x.1 < ended, ranks) AS last
    FROM stays
) AS stays
INNER JOIN groups USING (app, `group`)
COMMENT 'receiptd: stays in groups, with roles'
