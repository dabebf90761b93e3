CREATE TABLE receiptd.events
(
    `partition` UInt16 COMMENT 'of the log' CODEC(ZSTD(1)),
    `sequence` UInt64 COMMENT 'of the log entry in its partition' CODEC(Delta(8), ZSTD(1)),
    `index` UInt32 COMMENT 'of the event in its entry' CODEC(Delta(4), ZSTD(1)),
    `fact` UInt32 COMMENT '0 = the event itself' CODEC(Delta(4), ZSTD(1)),
    `at` DateTime64(3, 'UTC') COMMENT 'when the broker took the entry' CODEC(Delta(8), ZSTD(1)),
    `fingerprint` UInt64 COMMENT 'of the entry' CODEC(ZSTD(1)),
    `kind` Enum8('none' = 0, 'message.sent' = 1, 'message.delivered' = 2, 'message.read' = 3, 'conversation.read' = 4, 'message.recalled' = 5, 'group.created' = 6, 'group.joined' = 7, 'group.left' = 8, 'group.role' = 9, 'group.dissolved' = 10, 'app.configured' = 11, 'statistic.seen' = 12, 'user.configured' = 13, 'conversation.marked_unread' = 14) COMMENT 'what happened; none where there is no event' CODEC(ZSTD(1)),
    `outcome` Enum8('applied' = 0, 'duplicate' = 1, 'parked' = 2, 'receipts off' = 4, 'may not ask' = 5, 'receipt not found' = 6, 'daily limit' = 7, 'delivery receipts off' = 8, 'no app' = 9, 'no group' = 10, 'not a member' = 11, 'message id taken' = 12, 'group id taken' = 13, 'no message' = 14, 'not allowed' = 15, 'group full' = 16, 'parked too long' = 17, 'import of a time to come' = 21, 'import out of order' = 22, 'hidden' = 64, 'poison' = 100, 'empty' = 101, 'kept as bytes' = 102) COMMENT 'what was decided' CODEC(ZSTD(1)),
    `app` LowCardinality(String) COMMENT 'org#app' CODEC(ZSTD(1)),
    `group` LowCardinality(String) COMMENT 'empty for a single chat' CODEC(ZSTD(1)),
    `user` LowCardinality(String) COMMENT 'who acted' CODEC(ZSTD(1)),
    `peer` LowCardinality(String) COMMENT 'the other user of a single chat' CODEC(ZSTD(1)),
    `message` LowCardinality(String) COMMENT 'its id' CODEC(ZSTD(1)),
    `content` String COMMENT 'text of a receipt; the reason of an entry kept as bytes' CODEC(ZSTD(1)),
    `receipt` Bool COMMENT 'the sender asked for receipts' CODEC(ZSTD(1)),
    `strict` Bool COMMENT 'the receipt was to be refused rather than to wait for its message' CODEC(ZSTD(1)),
    `client_ms` Int64 COMMENT 'when it happened at the client, Unix ms, 0 = not given' CODEC(Delta(8), ZSTD(1)),
    `extra` String COMMENT 'JSON: what only rare kinds have; subject and bytes of an entry kept as such' CODEC(ZSTD(1)),
    `sender` LowCardinality(String) COMMENT 'of the message; this and what follows: of applied events only' CODEC(ZSTD(1)),
    `sent_at` DateTime64(3, 'UTC') COMMENT 'when the message was sent' CODEC(Delta(8), ZSTD(1)),
    `took_ms` Int64 ALIAS if(sent_at = 0, 0, greatest(0, dateDiff('ms', sent_at, happened_at))) COMMENT 'from sending to delivery or reading',
    `eligible` UInt32 COMMENT 'readers that the message may have' CODEC(ZSTD(1)),
    `readers` UInt32 COMMENT 'readers it has now' CODEC(Delta(4), ZSTD(1)),
    `leaf` String COMMENT 'first row of an entry: its hash in the tree of the log' CODEC(ZSTD(1)),
    `label` LowCardinality(String) COMMENT 'of the message, such as a campaign; empty = none' CODEC(ZSTD(1)),
    `imported` Bool COMMENT 'it is history from elsewhere, and happened at client_ms' CODEC(ZSTD(1)),
    `happened_at` DateTime64(3, 'UTC') ALIAS if(imported, fromUnixTimestamp64Milli(client_ms, 'UTC'), at) COMMENT 'when it happened: of imported events the time that they state, of others at',
    INDEX at_range at TYPE minmax GRANULARITY 1,
    INDEX of_message message TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX of_kind kind TYPE set(16) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (partition, sequence, index, fact)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192
COMMENT 'receiptd: all events, in the order of the log';

CREATE TABLE receiptd.messages
(
    `app` LowCardinality(String) COMMENT 'org#app' CODEC(ZSTD(1)),
    `group` String COMMENT 'empty for a single chat' CODEC(ZSTD(1)),
    `peer` String COMMENT 'the receiver in a single chat' CODEC(ZSTD(1)),
    `id` String COMMENT 'of the message' CODEC(ZSTD(1)),
    `sender` String COMMENT 'who sent it' CODEC(ZSTD(1)),
    `sent_at` DateTime64(3, 'UTC') COMMENT 'when' CODEC(Delta(8), ZSTD(1)),
    `receipt` Bool COMMENT 'the sender asked for receipts' CODEC(ZSTD(1)),
    `recalled` Bool COMMENT 'it was recalled, and is in no sum' CODEC(ZSTD(1)),
    `eligible` UInt32 COMMENT 'readers that it may have' CODEC(ZSTD(1)),
    `delivered` UInt32 COMMENT 'to so many of them; of groups what was read' CODEC(ZSTD(1)),
    `read` UInt32 COMMENT 'by so many of them' CODEC(ZSTD(1)),
    `first_read_at` DateTime64(3, 'UTC') COMMENT '1970 = never' CODEC(Delta(8), ZSTD(1)),
    `last_read_at` DateTime64(3, 'UTC') COMMENT '1970 = never' CODEC(Delta(8), ZSTD(1)),
    `version` UInt64 COMMENT 'the largest holds: the number of the rules times 2^48, plus the log position in the partition of the conversation' CODEC(Delta(8), ZSTD(1)),
    `label` LowCardinality(String) COMMENT 'such as a campaign; empty = none' CODEC(ZSTD(1)),
    `tracked` Bool DEFAULT (group = '') OR (eligible > 0) OR (receipt AND recalled) COMMENT 'it collects receipts, or did until it was recalled' CODEC(ZSTD(1)),
    `chat_sender` String COMMENT 'the sender in a single chat, empty for a group; what sender says, as a part of the key' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(sent_at)
PRIMARY KEY (app, group, peer, id)
ORDER BY (app, group, peer, id, chat_sender)
SETTINGS index_granularity = 8192
COMMENT 'receiptd: the latest numbers of each message';

CREATE TABLE receiptd.cohorts
(
    `app` LowCardinality(String) COMMENT 'org#app' CODEC(ZSTD(1)),
    `hour` DateTime('UTC') COMMENT 'of sending' CODEC(Delta(4), ZSTD(1)),
    `group` String COMMENT 'empty for a single chat' CODEC(ZSTD(1)),
    `peer` String COMMENT 'the receiver in a single chat' CODEC(ZSTD(1)),
    `sender` String COMMENT 'who sent them' CODEC(ZSTD(1)),
    `messages` UInt64 COMMENT 'that collect receipts and were not recalled' CODEC(ZSTD(1)),
    `eligible` UInt64 COMMENT 'readers that these may have, together' CODEC(ZSTD(1)),
    `delivered` UInt64 COMMENT 'to so many of them; of groups what was read' CODEC(ZSTD(1)),
    `read` UInt64 COMMENT 'by so many of them' CODEC(ZSTD(1)),
    `recalled` UInt64 COMMENT 'messages that collected receipts and were recalled: in no other number' CODEC(ZSTD(1)),
    `bins` Array(UInt16) COMMENT 'bin numbers, ascending' CODEC(ZSTD(1)),
    `counts` Array(UInt64) COMMENT 'reads in each bin' CODEC(ZSTD(1)),
    `version` UInt64 COMMENT 'the largest holds: the number of the rules times 2^48, plus the log position in the partition of the conversation' CODEC(Delta(8), ZSTD(1)),
    `label` String COMMENT 'of all the messages, such as a campaign; empty = none' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
PRIMARY KEY (app, hour, group, peer, sender)
ORDER BY (app, hour, group, peer, sender, label)
SETTINGS index_granularity = 1024
COMMENT 'receiptd: messages by sender, conversation and hour';

CREATE TABLE receiptd.hours
(
    `app` LowCardinality(String) COMMENT 'org#app' CODEC(ZSTD(1)),
    `hour` DateTime('UTC') COMMENT 'of sending' CODEC(Delta(4), ZSTD(1)),
    `partition` UInt16 COMMENT 'of the log' CODEC(ZSTD(1)),
    `messages` UInt64 COMMENT 'that collect receipts and were not recalled' CODEC(ZSTD(1)),
    `eligible` UInt64 COMMENT 'readers that these may have, together' CODEC(ZSTD(1)),
    `delivered` UInt64 COMMENT 'to so many of them; of groups what was read' CODEC(ZSTD(1)),
    `read` UInt64 COMMENT 'by so many of them' CODEC(ZSTD(1)),
    `recalled` UInt64 COMMENT 'messages that collected receipts and were recalled: in no other number' CODEC(ZSTD(1)),
    `bins` Array(UInt16) COMMENT 'bin numbers, ascending' CODEC(ZSTD(1)),
    `counts` Array(UInt64) COMMENT 'reads in each bin' CODEC(ZSTD(1)),
    `version` UInt64 COMMENT 'the largest holds: the number of the rules times 2^48, plus the log position in the partition' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
ORDER BY (app, hour, partition)
SETTINGS index_granularity = 8192
COMMENT 'receiptd: messages by hour';

CREATE TABLE receiptd.group_days
(
    `app` LowCardinality(String) COMMENT 'org#app' CODEC(ZSTD(1)),
    `day` DateTime('UTC') COMMENT 'of sending, its first second' CODEC(Delta(4), ZSTD(1)),
    `group` String COMMENT 'they were sent in' CODEC(ZSTD(1)),
    `messages` UInt64 COMMENT 'that collect receipts and were not recalled' CODEC(ZSTD(1)),
    `eligible` UInt64 COMMENT 'readers that these may have, together' CODEC(ZSTD(1)),
    `delivered` UInt64 COMMENT 'to so many of them; of groups what was read' CODEC(ZSTD(1)),
    `read` UInt64 COMMENT 'by so many of them' CODEC(ZSTD(1)),
    `recalled` UInt64 COMMENT 'messages that collected receipts and were recalled: in no other number' CODEC(ZSTD(1)),
    `bins` Array(UInt16) COMMENT 'bin numbers, ascending' CODEC(ZSTD(1)),
    `counts` Array(UInt64) COMMENT 'reads in each bin' CODEC(ZSTD(1)),
    `version` UInt64 COMMENT 'the largest holds: the number of the rules times 2^48, plus the log position in the partition of the group' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (app, day, group)
SETTINGS index_granularity = 1024
COMMENT 'receiptd: messages by group and day';

CREATE TABLE receiptd.sender_days
(
    `app` LowCardinality(String) COMMENT 'org#app' CODEC(ZSTD(1)),
    `day` DateTime('UTC') COMMENT 'of sending, its first second' CODEC(Delta(4), ZSTD(1)),
    `sender` String COMMENT 'who sent them' CODEC(ZSTD(1)),
    `partition` UInt16 COMMENT 'of the log' CODEC(ZSTD(1)),
    `messages` UInt64 COMMENT 'that collect receipts and were not recalled' CODEC(ZSTD(1)),
    `eligible` UInt64 COMMENT 'readers that these may have, together' CODEC(ZSTD(1)),
    `delivered` UInt64 COMMENT 'to so many of them; of groups what was read' CODEC(ZSTD(1)),
    `read` UInt64 COMMENT 'by so many of them' CODEC(ZSTD(1)),
    `recalled` UInt64 COMMENT 'messages that collected receipts and were recalled: in no other number' CODEC(ZSTD(1)),
    `bins` Array(UInt16) COMMENT 'bin numbers, ascending' CODEC(ZSTD(1)),
    `counts` Array(UInt64) COMMENT 'reads in each bin' CODEC(ZSTD(1)),
    `version` UInt64 COMMENT 'the largest holds: the number of the rules times 2^48, plus the log position in the partition' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (app, day, sender, partition)
SETTINGS index_granularity = 1024
COMMENT 'receiptd: messages by sender and day';

CREATE TABLE receiptd.migrations
(
    `version` UInt32 COMMENT 'number of the migration',
    `name` String COMMENT 'what it does',
    `checksum` String COMMENT 'of its text, which does not change',
    `applied_at` DateTime DEFAULT now() COMMENT 'when it was applied'
)
ENGINE = MergeTree
ORDER BY version
SETTINGS index_granularity = 8192
COMMENT 'receiptd: the migrations that were applied';

CREATE VIEW receiptd.time_bins
(
    `bin` UInt16 COMMENT 'its number, as in the columns bins',
    `first_ms` Int64 COMMENT 'the shortest time in it, in milliseconds',
    `last_ms` Int64 COMMENT 'the longest; longer ones are in the last bin',
    `ms` Float64 COMMENT 'what stands for all of them, within 1 %'
)
COMMENT 'receiptd: the bins of the times to read'
AS WITH
    [0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 10, 10, 10, 10, 10, 10, 11, 11, 11, 11, 12, 12, 12, 12, 12, 13, 13, 13, 13, 14, 14, 14, 15, 15, 15, 15, 16, 16, 16, 17, 17, 17, 18, 18, 18, 19, 19, 19, 20, 20, 21, 21, 21, 22, 22, 23, 23, 24, 24, 25, 25, 26, 26, 27, 27, 28, 28, 29, 29, 30, 30, 31, 32, 32, 33, 34, 34, 35, 36, 36, 37, 38, 39, 39, 40, 41, 42, 43, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 60, 61, 62, 63, 65, 66, 67, 69, 70, 71, 73, 74, 76, 77, 79, 80, 82, 84, 85, 87, 89, 91, 92, 94, 96, 98, 100, 102, 104, 106, 108, 110, 113, 115, 117, 120, 122, 124, 127, 130, 132, 135, 138, 140, 143, 146, 149, 152, 155, 158, 161, 165, 168, 171, 175, 178, 182, 185, 189, 193, 197, 201, 205, 209, 213, 218, 222, 226, 231, 236, 240, 245, 250, 255, 260, 266, 271, 276, 282, 288, 294, 299, 305, 312, 318, 324, 331, 338, 344, 351, 358, 366, 373, 381, 388, 396, 404, 412, 420, 429, 438, 446, 455, 465, 474, 484, 493, 503, 513, 524, 534, 545, 556, 567, 579, 591, 602, 615, 627, 640, 653, 666, 679, 693, 707, 721, 736, 751, 766, 781, 797, 813, 830, 846, 863, 881, 899, 917, 935, 954, 973, 993, 1013, 1034, 1054, 1076, 1097, 1120, 1142, 1165, 1189, 1213, 1237, 1262, 1288, 1314, 1340, 1367, 1395, 1423, 1452, 1481, 1511, 1542, 1573, 1604, 1637, 1670, 1704, 1738, 1773, 1809, 1846, 1883, 1921, 1960, 1999, 2040, 2081, 2123, 2166, 2209, 2254, 2300, 2346, 2393, 2442, 2491, 2541, 2593, 2645, 2698, 2753, 2809, 2865, 2923, 2982, 3042, 3104, 3167, 3231, 3296, 3362, 3430, 3500, 3570, 3642, 3716, 3791, 3868, 3946, 4025, 4107, 4190, 4274, 4361, 4449, 4539, 4630, 4724, 4819, 4917, 5016, 5117, 5221, 5326, 5434, 5543, 5655, 5770, 5886, 6005, 6126, 6250, 6376, 6505, 6637, 6771, 6908, 7047, 7189, 7335, 7483, 7634, 7788, 7946, 8106, 8270, 8437, 8607, 8781, 8959, 9139, 9324, 9512, 9705, 9901, 10101, 10305, 10513, 10725, 10942, 11163, 11388, 11619, 11853, 12093, 12337, 12586, 12840, 13100, 13364, 13634, 13910, 14191, 14478, 14770, 15068, 15373, 15683, 16000, 16323, 16653, 16990, 17333, 17683, 18040, 18405, 18776, 19156, 19543, 19937, 20340, 20751, 21170, 21598, 22034, 22479, 22934, 23397, 23870, 24352, 24844, 25346, 25858, 26380, 26913, 27457, 28011, 28577, 29154, 29743, 30344, 30957, 31583, 32221, 32872, 33536, 34213, 34904, 35609, 36329, 37063, 37811, 38575, 39354, 40150, 40961, 41788, 42632, 43494, 44372, 45269, 46183, 47116, 48068, 49039, 50030, 51040, 52071, 53123, 54197, 55291, 56408, 57548, 58711, 59897, 61107, 62341, 63600, 64885, 66196, 67533, 68898, 70290, 71710, 73158, 74636, 76144, 77682, 79252, 80853, 82486, 84152, 85852, 87587, 89356, 91161, 93003, 94882, 96799, 98754, 100749, 102784, 104861, 106979, 109140, 111345, 113595, 115890, 118231, 120619, 123056, 125542, 128078, 130666, 133305, 135998, 138746, 141549, 144408, 147326, 150302, 153338, 156436, 159596, 162820, 166110, 169465, 172889, 176382, 179945, 183580, 187289, 191072, 194932, 198871, 202888, 206987, 211168, 215434, 219787, 224227, 228757, 233378, 238093, 242903, 247810, 252816, 257923, 263134, 268450, 273873, 279406, 285050, 290809, 296684, 302677, 308792, 315030, 321394, 327887, 334511, 341269, 348163, 355197, 362373, 369693, 377162, 384781, 392554, 400485, 408575, 416830, 425250, 433841, 442606, 451547, 460669, 469976, 479470, 489156, 499038, 509120, 519405, 529898, 540603, 551525, 562666, 574033, 585630, 597461, 609531, 621845, 634407, 647223, 660299, 673638, 687247, 701131, 715295, 729745, 744488, 759528, 774872, 790526, 806496, 822789, 839411, 856368, 873669, 891319, 909325, 927695, 946437, 965556, 985063, 1004963, 1025265, 1045978, 1067108, 1088666, 1110659, 1133097, 1155988, 1179341, 1203166, 1227473, 1252270, 1277568, 1303378, 1329709, 1356571, 1383977, 1411936, 1440460, 1469560, 1499248, 1529536, 1560436, 1591960, 1624121, 1656931, 1690404, 1724554, 1759393, 1794937, 1831198, 1868192, 1905933, 1944437, 1983718, 2023793, 2064678, 2106389, 2148942, 2192355, 2236645, 2281830, 2327927, 2374956, 2422935, 2471883, 2521820, 2572766, 2624741, 2677766, 2731863, 2787052, 2843356, 2900797, 2959399, 3019185, 3080179, 3142405, 3205887, 3270653, 3336727, 3404135, 3472906, 3543065, 3614642, 3687666, 3762164, 3838167, 3915706, 3994811, 4075514, 4157848, 4241845, 4327539, 4414964, 4504155, 4595148, 4687979, 4782686, 4879306, 4977877, 5078441, 5181035, 5285703, 5392485, 5501424, 5612563, 5725949, 5841624, 5959637, 6080034, 6202863, 6328173, 6456015, 6586439, 6719499, 6855246, 6993736, 7135023, 7279165, 7426219, 7576244, 7729299, 7885447, 8044749, 8207269, 8373072, 8542225, 8714795, 8890852, 9070465, 9253707, 9440650, 9631370, 9825944, 10024447, 10226962, 10433567, 10644346, 10859383, 11078765, 11302578, 11530913, 11763861, 12001514, 12243969, 12491322, 12743672, 13001120, 13263769, 13531724, 13805092, 14083983, 14368508, 14658781, 14954917, 15257037, 15565260, 15879710, 16200512, 16527795, 16861690, 17202330, 17549852, 17904394, 18266099, 18635111, 19011578, 19395650, 19787482, 20187229, 20595052, 21011113, 21435580, 21868622, 22310413, 22761128, 23220949, 23690059, 24168646, 24656901, 25155020, 25663203, 26181651, 26710573, 27250181, 27800690, 28362320, 28935296, 29519847, 30116208, 30724616, 31345315, 31978554, 32624585, 33283668, 33956065, 34642046, 35341886, 36055863, 36784264, 37527381, 38285510, 39058954, 39848024, 40653035, 41474308, 42312173, 43166964, 44039024, 44928701, 45836352, 46762339, 47707033, 48670811, 49654060, 50657172, 51680549, 52724601, 53789744, 54876406, 55985020, 57116030, 58269890, 59447059, 60648010, 61873222, 63123186, 64398402, 65699380, 67026640, 68380714, 69762142, 71171478, 72609286, 74076140, 75572628, 77099348, 78656910, 80245939, 81867069, 83520949, 85208241, 86929619, 88685773, 90477405, 92305231, 94169983, 96072407, 98013264, 99993330, 102013397, 104074274, 106176785, 108321770, 110510089, 112742616, 115020244, 117343886, 119714469, 122132943, 124600275, 127117453, 129685482, 132305391, 134978227, 137705060, 140486980, 143325101, 146220558, 149174508, 152188135, 155262642, 158399261, 161599246, 164863878, 168194461, 171592329, 175058841, 178595383, 182203370, 185884247, 189639484, 193470584, 197379081, 201366537, 205434548, 209584741, 213818776, 218138347, 222545183, 227041045, 231627733, 236307081, 241080961, 245951284, 250919997, 255989087, 261160584, 266436555, 271819112, 277310407, 282912638, 288628045, 294458914, 300407579, 306476419, 312667862, 318984384, 325428513, 332002827, 338709954, 345552580, 352533440, 359655328, 366921092, 374333639, 381895935, 389611004, 397481934, 405511872, 413704031, 422061688, 430588187, 439286938, 448161421, 457215187, 466451858, 475875128, 485488767, 495296620, 505302613, 515510746, 525925105, 536549854, 547389245, 558447614, 569729384, 581239069, 592981272, 604960692, 617182120, 629650445, 642370656, 655347841, 668587192, 682094004, 695873680, 709931735, 724273790, 738905583, 753832969, 769061918, 784598522, 800448997, 816619684, 833117052, 849947699, 867118360, 884635902, 902507335, 920739806, 939340610, 958317188, 977677131, 997428184, 1017578249, 1038135385, 1059107817, 1080503935, 1102332297, 1124601636, 1147320861, 1170499060, 1194145506, 1218269658, 1242881166, 1267989876, 1293605833, 1319739285, 1346400684, 1373600698, 1401350207, 1429660312, 1458542339, 1488007841, 1518068605, 1548736658, 1580024267, 1611943949, 1644508473, 1677730867, 1711624420, 1746202691, 1781479513, 1817468998, 1854185543, 1891643837, 1929858864, 1968845912, 2008620577, 2049198770, 2090596725, 2132831002, 2175918497, 2219876447, 2264722435, 2310474404, 2357150654, 2404769860, 2453351069, 2502913717, 2553477630, 2605063037, 2657690573, 2711381291, 2766156671, 2822038624, 2879049505, 2937212122, 2996549740, 3057086099, 3118845414, 3181852392, 3246132238, 3311710667, 3378613913, 3446868739, 3516502451, 3587542905, 3660018519, 3733958287, 3809391788, 3886349198, 3964861303, 4044959511, 4126675864, 4210043054, 4295094428, 4381864013, 4470386518, 4560697357, 4652832657, 4746829276, 4842724817, 4940557642, 5040366887, 5142192481, 5246075157, 5352056473, 5460178826, 5570485469, 5683020529, 5797829025, 5914956884, 6034450962, 6156359063, 6280729953, 6407613386, 6537060121, 6669121942, 6803851678, 6941303227, 7081531575, 7224592819, 7370544189, 7519444072, 7671352033, 7826328842, 7984436495, 8145738242, 8310298611, 8478183431, 8649459864, 8824196427, 9002463022, 9184330961, 9369873001, 9559163365, 9752277776, 9949293489, 10150289317, 10355345666, 10564544569, 10777969712, 10995706473, 11217841958, 11444465028, 11675666341, 11911538389, 12152175528, 12397674023, 12648132084, 12903649904, 13164329700, 13430275755, 13701594457, 13978394345, 14260786150, 14548882840, 14842799665, 15142654203, 15448566409, 15760658660, 16079055805, 16403885215, 16735276836, 17073363236, 17418279665, 17770164103, 18129157317, 18495402919, 18869047423, 19250240300, 19639134043, 20035884226, 20440649564, 20853591979, 21274876666, 21704672154, 22143150379, 22590486751, 23046860220, 23512453356, 23987452414, 24472047412, 24966432208, 25470804576, 25985366285, 26510323179, 27045885264, 27592266784, 28149686315, 28718366847, 29298535874, 29890425488, 30494272467, 31110318376, 31738809656, 32379997730, 33034139098, 33701495443, 34382333735, 35076926336, 35785551110, 36508491537, 37246036820, 37998482009, 38766128110, 39549282213, 40348257611, 41163373927, 41994957238, 42843340213, 43708862237, 44591869555, 45492715405, 46411760161, 47349371477, 48305924436, 49281801697, 50277393651, 51293098573, 52329322787, 53386480823, 54464995587, 55565298528, 56687829811, 57833038494, 59001382706, 60193329832, 61409356697, 62649949762, 63915605312, 65206829662, 66524139352, 67868061359, 69239133306, 70637903676, 72064932033, 73520789246, 75006057715, 76521331608, 78067217095, 79644332592, 81253309008, 82894789998, 84569432221, 86277905599, 88020893591, 89799093461, 91613216561, 93463988613, 95352149999, 97278456060, 99243677394, 101248600170, 103294026436, 105380774445, 107509678979, 109681591686, 111897381417, 114157934577, 116464155477, 118816966699, 121217309460, 123666143995, 126164449934, 128713226701, 131313493907, 133966291763, 136672681496, 137438953472] AS begins
SELECT
    toUInt16(n - 1) AS bin,
    toInt64(begins[n]) AS first_ms,
    toInt64((begins[n + 1]) - 1) AS last_ms,
    if(first_ms = last_ms, first_ms, ((2. * first_ms) * last_ms) / (first_ms + last_ms)) AS ms
FROM
(
    SELECT arrayJoin(range(1, 1285)) AS n
)
WHERE first_ms <= last_ms;

CREATE VIEW receiptd.reads
(
    `app` LowCardinality(String) COMMENT 'org#app',
    `group` LowCardinality(String) COMMENT 'empty for a single chat',
    `message` LowCardinality(String) COMMENT 'its id',
    `sender` LowCardinality(String) COMMENT 'of the message',
    `label` LowCardinality(String) COMMENT 'of the message, such as a campaign; empty = none',
    `sent_at` DateTime64(3, 'UTC') COMMENT 'when the message was sent',
    `reader` LowCardinality(String) COMMENT 'who read it',
    `read_at` DateTime64(3, 'UTC') COMMENT 'when',
    `took_ms` Int64 COMMENT 'from sending to reading',
    `content` String COMMENT 'text of the receipt'
)
COMMENT 'receiptd: each read that counts, of messages that were not recalled'
AS SELECT
    app,
    group,
    message,
    sender,
    label,
    sent_at,
    user AS reader,
    greatest(happened_at, sent_at) AS read_at,
    took_ms,
    content
FROM receiptd.events
WHERE (kind = 'message.read') AND (outcome = 'applied') AND ((app, group, if(group = '', user, ''), sender, message) NOT IN (
    SELECT
        app,
        group,
        peer,
        sender,
        id
    FROM receiptd.messages
    FINAL
    WHERE recalled
));

CREATE VIEW receiptd.members
(
    `app` LowCardinality(String) COMMENT 'org#app',
    `group` LowCardinality(String) COMMENT 'its id',
    `user` String COMMENT 'who was in it',
    `role` LowCardinality(String) COMMENT 'owner, admin or member: the last one of this stay',
    `joined_at` DateTime64(3, 'UTC') COMMENT 'when the stay began',
    `left_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'when it ended; NULL = it goes on',
    `dissolved_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'when the group was dissolved; NULL = it was not',
    `began` Tuple(
        UInt64,
        UInt32) COMMENT 'place in the log at which the stay began',
    `ended` Tuple(
        UInt64,
        UInt32) COMMENT 'place at which it ended; beyond all others if it goes on'
)
COMMENT 'receiptd: stays in groups, with roles'
AS WITH
    changes AS
    (
        SELECT
            app,
            group,
            tupleElement(one, 1) AS user,
            max(tupleElement(one, 2)) AS rank,
            any(kind) AS what,
            (sequence, index) AS place,
            any(happened_at) AS since
        FROM
        (
            SELECT
                app,
                group,
                kind,
                sequence,
                index,
                happened_at,
                arrayJoin(multiIf(kind = 'group.created', arrayConcat([(toString(user), 3)], arrayMap(x -> (x, 2), JSONExtract(extra, 'admins', 'Array(String)')), arrayMap(x -> (x, 1), JSONExtract(extra, 'members', 'Array(String)'))), kind = 'group.role', [(toString(user), JSONExtractUInt(extra, 'role'))], [(toString(user), 1)])) AS one
            FROM receiptd.events
            WHERE (kind IN ('group.created', 'group.joined', 'group.left', 'group.role')) AND (outcome = 'applied') AND (fact = 0)
        )
        GROUP BY
            app,
            group,
            user,
            sequence,
            index
    ),
    stays AS
    (
        SELECT
            app,
            group,
            user,
            arraySort(groupArrayIf((place, since), (what IN ('group.created', 'group.joined')))) AS joins,
            arraySort(groupArrayIf((place, since), what = 'group.left')) AS leaves,
            arraySort(groupArrayIf((place, rank), what != 'group.left')) AS ranks,
            arrayJoin(arrayEnumerate(joins)) AS n,
            joins[n] AS joined,
            if(n <= length(leaves), (leaves[n]).1, (18446744073709551615, 4294967295)) AS ended
        FROM changes
        GROUP BY
            app,
            group,
            user
    ),
    groups AS
    (
        SELECT
            app,
            group,
            groupArrayIf((sequence, index), (kind = 'group.role') AND (JSONExtractUInt(extra, 'role') = 3)) AS handed,
            maxIf(happened_at, kind = 'group.dissolved') AS dissolved
        FROM receiptd.events
        WHERE (kind IN ('group.created', 'group.role', 'group.dissolved')) AND (outcome = 'applied') AND (fact = 0)
        GROUP BY
            app,
            group
    )
SELECT
    app,
    group,
    user,
    transform(multiIf((last.2) < 3, last.2, arrayExists(x -> ((x > (last.1)) AND (x < ended)), handed), 2, 3), [1, 2, 3], ['member', 'admin', 'owner'], '') AS role,
    joined.2 AS joined_at,
    if(n <= length(leaves), (leaves[n]).2, NULL) AS left_at,
    if(toUnixTimestamp64Milli(dissolved) = 0, NULL, dissolved) AS dissolved_at,
    joined.1 AS began,
    ended
FROM
(
    SELECT
        *,
        arrayLast(x -> ((x.1) < ended), ranks) AS last
    FROM stays
) AS stays
INNER JOIN groups USING (app, group);

CREATE VIEW receiptd.recipients
(
    `app` LowCardinality(String) COMMENT 'org#app',
    `group` LowCardinality(String) COMMENT 'empty for a single chat',
    `message` LowCardinality(String) COMMENT 'its id',
    `sender` LowCardinality(String) COMMENT 'of the message',
    `label` LowCardinality(String) COMMENT 'of the message, such as a campaign; empty = none',
    `sent_at` DateTime64(3, 'UTC') COMMENT 'when the message was sent',
    `recipient` String COMMENT 'who could read it: a member of the group when it was sent, or the other user',
    `delivered_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'when its delivery was reported, in single chats; NULL = it was not',
    `read_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'when they read it; NULL = they have not, or hide it',
    `took_ms` Nullable(Int64) COMMENT 'from sending to reading; NULL as well'
)
COMMENT 'receiptd: each who could read a message, with when they did'
AS SELECT
    app,
    group,
    message,
    sender,
    label,
    sent_at,
    recipient,
    if(max(delivered) = 0, NULL, fromUnixTimestamp64Milli(max(delivered), 'UTC')) AS delivered_at,
    if(max(read) = 0, NULL, fromUnixTimestamp64Milli(max(read), 'UTC')) AS read_at,
    if(max(read) = 0, NULL, greatest(0, max(read) - toUnixTimestamp64Milli(sent_at))) AS took_ms
FROM
(
    SELECT
        e.app AS app,
        e.group AS group,
        e.message AS message,
        e.sender AS sender,
        e.label AS label,
        e.sent_at AS sent_at,
        m.user AS recipient,
        toInt64(0) AS delivered,
        toInt64(0) AS read
    FROM
    (
        SELECT
            app,
            group,
            message,
            sender,
            label,
            sent_at,
            (sequence, index) AS place
        FROM receiptd.events
        WHERE (kind = 'message.sent') AND (outcome = 'applied') AND (eligible > 0) AND (group != '')
    ) AS e
    INNER JOIN receiptd.members AS m ON (m.app = e.app) AND (m.group = e.group)
    WHERE (m.began < e.place) AND (e.place < m.ended) AND (m.user != e.sender)
    UNION ALL
    SELECT
        app,
        group,
        message,
        sender,
        label,
        sent_at,
        toString(if(kind = 'message.sent', peer, user)) AS recipient,
        if(kind = 'message.delivered', toUnixTimestamp64Milli(greatest(happened_at, sent_at)), 0) AS delivered,
        if(kind = 'message.read', toUnixTimestamp64Milli(greatest(happened_at, sent_at)), 0) AS read
    FROM receiptd.events
    WHERE (outcome = 'applied') AND ((kind IN ('message.delivered', 'message.read')) OR ((kind = 'message.sent') AND (eligible > 0) AND (group = '')))
)
WHERE (app, group, if(group = '', recipient, ''), sender, message) NOT IN (
    SELECT
        app,
        group,
        peer,
        sender,
        id
    FROM receiptd.messages
    FINAL
    WHERE recalled
)
GROUP BY
    app,
    group,
    message,
    sender,
    label,
    sent_at,
    recipient;

CREATE VIEW receiptd.readers
(
    `app` LowCardinality(String) COMMENT 'org#app',
    `group` LowCardinality(String) COMMENT 'empty for a single chat',
    `sender` LowCardinality(String) COMMENT 'of the message',
    `label` LowCardinality(String) COMMENT 'of the message, such as a campaign; empty = none',
    `sent_at` DateTime64(3, 'UTC') COMMENT 'when the message was sent',
    `reader` String COMMENT 'who could read it, or has',
    `messages` UInt8 COMMENT 'to add up: 1 = they could read it',
    `read` UInt8 COMMENT 'to add up: 1 = they have'
)
COMMENT 'receiptd: how many messages somebody could read and has read, in rows to add up'
AS SELECT
    e.app AS app,
    e.group AS group,
    e.sender AS sender,
    e.label AS label,
    e.sent_at AS sent_at,
    m.user AS reader,
    toUInt8(1) AS messages,
    toUInt8(0) AS read
FROM
(
    SELECT
        app,
        group,
        sender,
        label,
        sent_at,
        (sequence, index) AS place
    FROM receiptd.events
    WHERE (kind = 'message.sent') AND (outcome = 'applied') AND (eligible > 0) AND (group != '') AND ((app, group, message) NOT IN (
        SELECT
            app,
            group,
            id
        FROM receiptd.messages
        FINAL
        WHERE recalled
    ))
) AS e
INNER JOIN receiptd.members AS m ON (m.app = e.app) AND (m.group = e.group)
WHERE (m.began < e.place) AND (e.place < m.ended) AND (m.user != e.sender)
UNION ALL
SELECT
    app,
    group,
    sender,
    label,
    sent_at,
    toString(if(kind = 'message.sent', peer, user)) AS reader,
    kind = 'message.sent' AS messages,
    kind = 'message.read' AS read
FROM receiptd.events
WHERE (outcome = 'applied') AND ((kind = 'message.read') OR ((kind = 'message.sent') AND (eligible > 0) AND (group = ''))) AND ((app, group, if(group = '', if(kind = 'message.sent', peer, user), ''), sender, message) NOT IN (
    SELECT
        app,
        group,
        peer,
        sender,
        id
    FROM receiptd.messages
    FINAL
    WHERE recalled
));

