// Package config reads the settings of receiptd's two programs from their defaults, an optional
// YAML file, the environment and the command line, each stronger than the one before, and reports
// everything that is wrong with them at once.
//
// A setting has one name: --cache-size on the command line is RECEIPTD_CACHE_SIZE in the
// environment and cache-size in the file. A key or a variable with the prefix RECEIPTD_ that
// names no setting is an error.
package config

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/alecthomas/kong"
)

// Config is everything an operator can set of a server. Each component has its own struct; the
// names, defaults and help texts of the settings are in the tags, and nowhere else.
type Config struct {
	// Data is the directory that holds the log, the state and the admin key.
	Data string `default:"./data" placeholder:"DIR" group:"Server:" help:"Directory of the log, the state and the admin key. Made if it is not there; used by one server at a time."`
	// ShutdownTimeout bounds the drain that SIGTERM starts.
	ShutdownTimeout time.Duration `default:"20s" placeholder:"DURATION" group:"Server:" help:"How long SIGTERM lets requests finish and state be written before the rest is cut off."`

	HTTP    HTTP    `embed:"" group:"HTTP:"`
	Intake  Intake  `embed:"" group:"Intake:"`
	Log     Log     `embed:"" group:"Receipt log:"`
	Cluster Cluster `embed:"" group:"Cluster:"`
	State   State   `embed:"" group:"State:"`
	SDK     SDK     `embed:"" group:"SDK gateway:"`
	Demo    Demo    `embed:"" group:"Demo:"`
	Logging Logging `embed:"" group:"Logging:"`

	Analytics Analytics `embed:"" group:"Analytics:"`
}

// HTTP are the settings of the HTTP edge.
type HTTP struct {
	// Listen is the address of the API and the page; port 0 takes a free one.
	Listen string `default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address of the API and the page."`
	// AdminKey authorizes everything. Empty: the key kept in Data/admin.key, made at the first
	// start.
	AdminKey Secret `placeholder:"KEY" help:"Bearer key that may do everything. Empty: made at the first start and kept in DATA/admin.key, mode 0600."`
	// Hosts are the names that the server goes by, and TrustedProxies networks whose
	// X-Forwarded-For is believed.
	Hosts          CommaList `placeholder:"NAME,…" help:"Names that the server goes by; requests with another name in the Host header are refused, except addresses and localhost. Empty: all names, but none where --listen is an address of this machine only."`
	TrustedProxies CommaList `placeholder:"NETWORK,…" help:"Networks, such as 10.0.0.0/8, of proxies that are believed in X-Forwarded-For whom they pass requests on for. Without it all clients behind a proxy share the limits of its address."`
	// Metrics is MetricsAuto, MetricsOpen or MetricsKey.
	Metrics string `default:"auto" placeholder:"WHO" help:"Who may see /metrics, /v1/status and the totals on the page: open (everybody), key (who has the admin key), auto (everybody where --listen is an address of this machine only, else who has the key)."`
	// CORSOrigin are the origins whose pages may call the API from a browser; empty = none.
	CORSOrigin Origins `name:"cors-origin" placeholder:"ORIGIN" help:"Origins whose pages may call /v1 from a browser, such as https://chat.example.com, one or several with commas, or * for all. Empty: none."`
	// MaxBody bounds the body of a request.
	MaxBody Bytes `default:"8MiB" placeholder:"SIZE" help:"Largest request body; more is refused with 413."`
	// MaxEventsPerRequest bounds the events of one POST.
	MaxEventsPerRequest int `default:"10000" placeholder:"N" help:"Most events in one request; more is refused with 413."`
	// ReceiptsPerSecond bounds what a user reports with their token.
	ReceiptsPerSecond int `default:"100" placeholder:"N" help:"Receipts a second that a user may report with their token, with other changes of theirs that are written to the log, after a burst of ten times as many; more is refused with 429."`
}

// Intake are the settings of what requests may hold and whose turn it is.
type Intake struct {
	// Memory bounds what all requests hold of what has arrived and is not in the log's queue yet.
	Memory Bytes `name:"intake-memory" default:"64MiB" placeholder:"SIZE" help:"Memory for events that have arrived and are not in the log's queue yet; an app, or an address, may hold half of it. In a small container it is less."`
	// AppWeights are the shares of apps under load.
	AppWeights Weights `name:"app-weights" placeholder:"LIST" help:"Shares of apps when there is too much for all, like acme/chat=4,acme/mail=2. An app that is not named has 1."`
}

// Log are the settings of the receipt log: the broker that is embedded, or the outside one.
type Log struct {
	// Partitions is fixed when the log is created; 0 = the number of cores then.
	Partitions int `default:"0" placeholder:"N" help:"Partitions of the log. 0: the number of cores for a new log, what it has for an existing one. Once the log is created, receiptctl repartition alone changes it."`
	// Fsync is FsyncAlways or FsyncInterval. It is a setting of the embedded broker.
	Fsync string `default:"always" placeholder:"WHEN" help:"When the embedded NATS server syncs the log to disk: always (before every acknowledgement: what was acknowledged survives a power loss) or interval (once a second: faster, but a power loss takes up to the last second)."`
	// MinFree is the disk space that the embedded broker leaves free.
	MinFree Bytes `default:"64MiB" placeholder:"SIZE" help:"Disk space that the embedded NATS server leaves free: events are refused before it is used, those that NATS clients publish at --nats-listen 16 MiB before."`
	// Witness is the directory of the log's witness; empty = Data/witness.
	Witness string `placeholder:"DIR" help:"Directory of the log's witness, by which a log that lost entries is found out at the next start; best on another disk. Empty: DATA/witness. It is for the embedded NATS server."`
	// InspectSize bounds how much of each partition's files a start reads after a clean stop.
	InspectSize Bytes `default:"16GiB" placeholder:"SIZE" help:"How much of each partition's files a start reads through before it serves, from their end. 0: all. After a crash it is all, too."`
	// ScrubRate and ScrubEvery are how fast, in a second, and how often all files are read.
	ScrubRate  Bytes         `default:"16MiB" placeholder:"SIZE" help:"How much of log and state is read from the disk against its checksums in a second, in the background. 0: none."`
	ScrubEvery time.Duration `default:"24h" placeholder:"DURATION" help:"Time from the start of one such pass over all files to the start of the next one."`
	// NATS are the servers of an outside cluster; empty = embedded.
	NATS ServerURLs `name:"nats" placeholder:"URL" help:"Outside NATS cluster, one URL or several with commas. Empty: a NATS server in this process."`
	// NATSCredentials is the path of a credentials file for NATS.
	NATSCredentials string `name:"nats-credentials" placeholder:"FILE" help:"Credentials file for --nats."`
	// Replicas of each partition in the outside cluster.
	Replicas int `default:"1" placeholder:"N" help:"Copies of each partition in the cluster of --nats, 1 to 5. In that of --cluster-listen there are three at least."`
	// NATSListen opens the embedded broker to other clients; empty = closed.
	NATSListen string `name:"nats-listen" placeholder:"ADDR" help:"Address at which the embedded NATS server takes events from NATS clients. Empty: none are let in."`
	// NATSPassword is what those clients give, as the user that eventlog.DefaultIngressUser names.
	NATSPassword Secret `name:"nats-password" placeholder:"PASSWORD" help:"Password of NATS clients at --nats-listen that may publish for all apps, user ingress. This or --nats-users is needed with it."`
	// NATSUsers is a file with the clients that are for one app each.
	NATSUsers string `name:"nats-users" placeholder:"FILE" help:"File with a line ORG#APP PASSWORD for each NATS client at --nats-listen that may publish for one app only; its user name is ORG#APP."`
	// NATSCert and NATSKey have the listener speak TLS.
	NATSCert string `name:"nats-tls-cert" placeholder:"FILE" help:"Certificate, with those that sign it, with which --nats-listen speaks TLS, in PEM. Needed with --nats-tls-key."`
	NATSKey  string `name:"nats-tls-key" placeholder:"FILE" help:"Key of --nats-tls-cert, in PEM."`
}

// Cluster are the settings of a node among several on one log. Without Node there is one process.
type Cluster struct {
	// Node is this process's name in the cluster; empty = there is none.
	Node string `placeholder:"NAME" help:"Name of this node among several on the same log, in the NATS cluster of --nats or the one that --cluster-listen forms: letters, digits, - and _. Empty: this is the only process."`
	// Copies is how many nodes fold each partition; 0 = all, or as the cluster has it.
	Copies int `default:"0" placeholder:"N" help:"Nodes that fold each partition. 0: all, or what another node has said before. The first node that says it does so for the cluster; receiptctl cluster copies changes it."`
	// MoveAfter is how long a node is silent before others fold what it did.
	MoveAfter time.Duration `name:"move-after" default:"1m" placeholder:"DURATION" help:"How long a node is silent before others fold the partitions that it did, with --copies: longer than a restart takes."`
	// Listen and Routes are where the NATS servers inside the nodes meet; empty = they do not.
	Listen string `name:"cluster-listen" placeholder:"ADDR" help:"Address at which the NATS server in this process meets those of the other nodes: three nodes form a cluster without an outside one."`
	Routes string `name:"cluster-routes" placeholder:"ADDR" help:"The addresses of all nodes for --cluster-listen, with commas; the same list, this node's own in it, on each."`
	// RestoreFrom is the backup that the log of a new cluster begins with; empty = with nothing.
	RestoreFrom string `name:"restore-from" placeholder:"DIR" help:"Backup, by receiptctl backup, that a new cluster's log begins with: the node that has it restores it, and those that have no such directory wait. The same on each node; of no effect once that log is there."`
	// Secret is what these servers prove to each other.
	Secret Secret `name:"cluster-secret" placeholder:"SECRET" help:"What the nodes prove to each other at --cluster-listen; 16 characters or more, the same on each."`
	// Cert, Key and CA have these servers speak TLS, and take only each other; empty = unencrypted.
	Cert string `name:"cluster-tls-cert" placeholder:"FILE" help:"Certificate of this node, with those that sign it, with which the nodes speak TLS at --cluster-listen, in PEM: for both ends of a connection, and for this node's address in --cluster-routes. On all nodes or none; needs --cluster-tls-key and --cluster-tls-ca."`
	Key  string `name:"cluster-tls-key" placeholder:"FILE" help:"Key of --cluster-tls-cert, in PEM."`
	CA   string `name:"cluster-tls-ca" placeholder:"FILE" help:"Certificates, in PEM, one of which must have signed this node's own, and that of another one for it to be let in or spoken to."`
}

// State are the settings of the folded state and its checkpoints.
type State struct {
	// CacheSize bounds the hot state kept in memory, over all partitions.
	CacheSize Bytes `default:"256MiB" placeholder:"SIZE" help:"Memory for hot state, over all partitions. The rest is read from disk."`
	// CheckpointInterval is the time between checkpoints of a partition.
	CheckpointInterval time.Duration `default:"1s" placeholder:"DURATION" help:"Time between checkpoints. A start after a crash folds what the log holds since the last one."`
	// SnapshotEvery is the time between snapshots; 0 = none are made, nor begun from.
	SnapshotEvery time.Duration `default:"0s" placeholder:"DURATION" help:"Time between snapshots of the state in the object store of the log's NATS servers, from which an empty state begins; the same on all nodes. 0s: none."`
	// SnapshotRate bounds what making them moves in a second.
	SnapshotRate Bytes `default:"16MiB" placeholder:"SIZE" help:"How much of a snapshot is read, stored or read back in a second."`
}

// SDK are the settings of the edge for the Easemob SDK.
type SDK struct {
	// MaxConnections bounds the connections that are logged in, MaxConnectionsPerUser those of one
	// user.
	MaxConnections        int `default:"20000" placeholder:"N" help:"Most SDK connections at one time, which apps share; more are refused. A quarter more may be about to log in."`
	MaxConnectionsPerUser int `default:"16" placeholder:"N" help:"Most SDK connections of one user at one time; a login beyond is refused."`
	// PendingPerAddress bounds the connections that have not logged in.
	PendingPerAddress int `default:"1000" placeholder:"N" help:"Most SDK connections from one address that have not logged in yet; more are refused. See --trusted-proxies."`
	// ProvisionTimeout, IdleTimeout and WriteTimeout bound the silence of a client: before its
	// login, after it, and in taking what it is sent.
	ProvisionTimeout time.Duration `default:"10s" placeholder:"DURATION" help:"How long an SDK connection may take to log in."`
	IdleTimeout      time.Duration `default:"2m" placeholder:"DURATION" help:"Silence after which an SDK connection is dropped. The SDK sends a heartbeat every minute at least."`
	WriteTimeout     time.Duration `default:"10s" placeholder:"DURATION" help:"How long an SDK client may leave its socket full before it is dropped."`
	// FramesPerSecond bounds what comes in by one connection, SendsPerSecond what a user sends.
	FramesPerSecond int `default:"200" placeholder:"N" help:"Frames a second of an SDK connection, after a burst of ten times as many; beyond, it is dropped."`
	SendsPerSecond  int `default:"100" placeholder:"N" help:"Messages and receipts a second of an SDK user, after a burst of ten times as many; beyond, they are refused. For each, 10 KiB a second may come from the user, and 256 KiB at least, after a burst of ten times as many; beyond, nothing is read from them for a while."`
	// MaxUsers bounds the registered users of an app.
	MaxUsers int `default:"1000000" placeholder:"N" help:"Most users registered in an app."`
	// GroupsPerUser, GroupsPerApp and GroupMembers bound the groups that are made with the SDK.
	GroupsPerUser int `default:"1000" placeholder:"N" help:"Most groups that one SDK user has made and not dissolved."`
	GroupsPerApp  int `default:"100000" placeholder:"N" help:"Most groups made with the SDK in an app."`
	GroupMembers  int `default:"5000" placeholder:"N" help:"Most members of a group made with the SDK, its owner included, unless the group says less."`
	// InvitesPerUser and InvitesPerApp bound how many users are put into groups in an hour.
	InvitesPerUser int `default:"10000" placeholder:"N" help:"Users that one SDK user may put into groups in an hour, at the start so many at once."`
	InvitesPerApp  int `default:"500000" placeholder:"N" help:"Users that all SDK users of an app may put into groups in an hour, at the start so many at once."`
	// InvitationsPerGroup, InvitationsPerInvitee, InvitationsPerInviter and InvitationsPerApp bound
	// the invitations that wait for consent.
	InvitationsPerGroup   int `default:"5000" placeholder:"N" help:"Most invitations into a group that wait for consent."`
	InvitationsPerInvitee int `default:"500" placeholder:"N" help:"Most invitations of one user that wait for their consent; one inviter may have made a tenth of them."`
	InvitationsPerInviter int `default:"10000" placeholder:"N" help:"Most invitations that wait for consent and were made by one user."`
	InvitationsPerApp     int `default:"200000" placeholder:"N" help:"Most invitations that wait for consent in an app."`
	// RequestsPerUser and RequestsPerAddress bound the SDK's REST calls.
	RequestsPerUser    int `default:"20" placeholder:"N" help:"REST calls a second of an SDK user, after a burst of ten times as many; beyond, they are refused."`
	RequestsPerAddress int `default:"200" placeholder:"N" help:"REST calls a second of the SDK from one address, after a burst of ten times as many; beyond, they are refused. See --trusted-proxies."`
	// InboxMessages, InboxAge and InboxSize bound what is kept for devices that have not taken it.
	InboxMessages int           `default:"1000" placeholder:"N" help:"Most messages of one sender kept for a user whose devices have not taken them; the oldest gives way."`
	InboxAge      time.Duration `default:"168h" placeholder:"DURATION" help:"How long a message is kept for devices that have not taken it."`
	InboxSize     Bytes         `default:"1GiB" placeholder:"SIZE" help:"Disk space for all such messages of one app; whoever stored most makes room."`
}

// Analytics are the settings of ClickHouse and of what may leave the log once it is there.
type Analytics struct {
	// ClickHouse is the database that takes every event; empty = none.
	ClickHouse DSN `name:"clickhouse" placeholder:"DSN" help:"ClickHouse that takes every event and answers analytics: clickhouse://user:password@host:9000/database, or http://host:8123/database. Empty: none, analytics come from the state."`
	// Fallback says who answers while ClickHouse does not: FallbackEmbedded or fallbackNone.
	Fallback string `name:"analytics-fallback" default:"embedded" placeholder:"WHO" help:"Who answers analytics while ClickHouse of --clickhouse is not prepared or does not answer: embedded (the state) or none (503)."`
	// RetainAge is how long entries stay in the log once they are covered, by ClickHouse or by two
	// snapshots; 0 = for ever.
	RetainAge time.Duration `default:"0s" placeholder:"DURATION" help:"Entries older than this leave the log once ClickHouse of --clickhouse has them and two snapshots of --snapshot-every cover them, whichever of the two is set; one has to be. 0s: they stay."`
	// RetainSize bounds the log by letting entries that are covered go; 0 = no bound.
	RetainSize Bytes `default:"0" placeholder:"SIZE" help:"While the log is larger than this, its oldest entries leave it in the same way. 0: they stay."`
}

// Demo are the settings of the page at /demo.
type Demo struct {
	// On serves it.
	On bool `name:"demo" help:"Serve a page at /demo on which people chat with the Easemob SDK. For trying receiptd: everybody who reaches the server may use it."`
	// SDK is the file of the SDK's main bundle.
	SDK string `name:"demo-sdk" default:"node_modules/easemob-websdk/Easemob-chat.js" placeholder:"FILE" help:"The SDK for --demo, from the npm package easemob-websdk; receiptd does not contain it."`
}

// Logging are the settings of the program's own messages.
type Logging struct {
	// Level is debug, info, warn or error.
	Level string `name:"log-level" default:"info" placeholder:"LEVEL" help:"Least important messages that are written: debug, info, warn or error."`
	// Format is formatText or formatJSON.
	Format string `name:"log-format" default:"text" placeholder:"FORMAT" help:"Format of the messages on standard error: text or json."`
}

// AdminKeyFile is the file in the data directory that keeps the admin key.
const AdminKeyFile = "admin.key"

// Values of HTTP.Metrics.
const (
	MetricsAuto = "auto"
	MetricsOpen = "open"
	MetricsKey  = "key"
)

// PrivateTotals reports whether totals over all apps take the admin key.
func (h HTTP) PrivateTotals() bool {
	return h.Metrics == MetricsKey || h.Metrics == MetricsAuto && !Loopback(h.Listen)
}

// Values of Log.Fsync.
const (
	FsyncAlways   = "always"
	FsyncInterval = "interval"
)

// Values of Analytics.Fallback.
const (
	FallbackEmbedded = "embedded"
	fallbackNone     = "none"
)

// Values of Logging.Format.
const (
	formatText = "text"
	formatJSON = "json"
)

// Default returns the configuration of a server that was told nothing.
func Default() Config {
	var c Config
	if err := kong.ApplyDefaults(&c); err != nil {
		panic(fmt.Sprintf("config: defaults: %v", err))
	}
	return c
}

// Logger returns a logger that writes to w as l says. l must be valid.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: levels[l.Level]}
	if l.Format == formatJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// levels are the values of Logging.Level.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}
