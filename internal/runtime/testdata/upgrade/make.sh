#!/bin/bash
# Makes the data directory of an earlier build that TestUpgrade opens. In a worktree of that build:
#
#   go build -o bin/ ./cmd/receiptd && bash make.sh bin/receiptd BUILD.tar.gz
#
# The traffic has what later rules decide otherwise, such as repeats after a dissolve. What the build
# answers is in the archive, too.
set -eu
server=$1 archive=$(realpath -m "$2") data=$(mktemp -d) port=18473
"$server" --data "$data/data" --listen 127.0.0.1:$port --partitions 2 --admin-key an-admin-key-of-the-upgrade-test > "$data/out" 2>&1 &
pid=$!
base=http://127.0.0.1:$port/v1/apps/acme/chat
api() { curl -fsS -H 'Authorization: Bearer an-admin-key-of-the-upgrade-test' -H 'Content-Type: application/json' "$@"; echo; }
until curl -fsS http://127.0.0.1:$port/readyz > /dev/null 2>&1; do sleep 0.2; done
api -X PUT $base -d '{"group_receipts":{"enabled":true},"open_registration":true}'
send() { api "$base/events?wait=applied" -d "$1"; }
for g in g1 g2 g3; do
  send '{"type":"group.created","group":"'$g'","owner":"ann","members":["ben","cleo","dan"],"admins":["eve"]}'
  for m in 1 2 3; do
    send '[{"type":"message.sent","id":"'$g-$m'","from":"ann","group":"'$g'","receipt":true},
      {"type":"message.read","message":"'$g-$m'","user":"ben","group":"'$g'","content":"seen"},
      {"type":"message.read","message":"'$g-$m'","user":"ben","group":"'$g'"},
      {"type":"message.read","message":"'$g-$m'","user":"zoe","group":"'$g'"}]'
  done
  send '[{"type":"conversation.read","user":"cleo","group":"'$g'"},{"type":"message.read","message":"early","user":"dan","group":"'$g'"}]'
done
for user in ben cleo dan; do
  send '[{"type":"message.sent","id":"s1","from":"ann","peer":"'$user'"},{"type":"message.delivered","message":"s1","user":"'$user'","peer":"ann"},
    {"type":"message.read","message":"s1","user":"'$user'","peer":"ann"},{"type":"message.sent","id":"s2","from":"ann","peer":"'$user'"},
    {"type":"message.recalled","message":"s2","user":"ann","peer":"'$user'"}]'
done
send '[{"type":"group.dissolved","group":"g3"},{"type":"message.read","message":"g3-1","user":"ben","group":"g3"},
  {"type":"message.sent","id":"late","from":"ann","group":"g3"},{"type":"group.created","group":"g2","owner":"ann","members":["ben"]}]'
curl -fsS -H 'Content-Type: application/json' http://127.0.0.1:$port/acme/chat/users -d '{"username":"fay","password":"a-password-of-fay"}'; echo
for path in messages/g{1,2,3}-{1,2,3}{,/readers,/nonreaders} users/{ann,ben,cleo,dan}/{conversations,statistics}; do
  printf '%s\t%s\n' "$path" "$(api "$base/$path")"
done > "$data/answers"
kill $pid
wait $pid || true
tar -C "$data" -czf "$archive" data answers
rm -r "$data"
