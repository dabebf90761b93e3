#!/bin/bash
# Makes the data directory of an earlier build that TestUpgrade opens. In a worktree of that build:
#
#   go build -o bin/ ./cmd/receiptd && bash make.sh bin/receiptd BUILD.tar.gz
#
# The traffic has what later rules decide otherwise, such as repeats after a dissolve. What the build
# answers is in the archive, too. With "all" as a third argument the traffic has what a build knows
# since 8212632: devices, event ids, hidden and reported reads, counted messages, labels, marks. With
# "import" it has what a build knows since 0a07f25, besides: imported history, ids of several forms,
# reads one by one, and an invitation that waits.
set -eu
server=$1 archive=$(realpath -m "$2") all=${3-} data=$(mktemp -d) port=18473
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
paths=$(echo messages/g{1,2,3}-{1,2,3}{,/readers,/nonreaders} users/{ann,ben,cleo,dan}/{conversations,statistics})
if [ "$all" = import ]; then
  at=$(($(date +%s) - 3000000))000
  events='{"type":"group.created","group":"old","owner":"ann","members":["ben","cleo"],"time":'$at',"event_id":"made-old"}'
  for m in 1190461258324410368 f47ac10b-58cc-4372-a567-0e02b2c3d479 plain; do
    at=$((at + 3600000))
    events="$events,"'{"type":"message.sent","id":"'$m'","from":"ann","group":"old","receipt":true,"label":"history","time":'$at'},
      {"type":"message.read","message":"'$m'","user":"ben","group":"old","content":"then","time":'$((at + 60000))'}'
  done
  api "$base/import?wait=applied" -d "[$events"',{"type":"message.read","message":"to come","user":"cleo","group":"old","time":'$((at + 60000))'},
    {"type":"message.sent","id":"behind","from":"ann","group":"old","time":'$((at - 1))'}]'
  send '[{"type":"message.sent","id":"1190461258324410369","from":"ben","group":"old","receipt":true},
    {"type":"message.read","message":"1190461258324410369","user":"cleo","group":"old"},{"type":"message.read","message":"plain","user":"cleo","group":"old"},
    {"type":"conversation.read","user":"ann","group":"old","upto":"1190461258324410369"}]'
  api -X PUT $base -d '{"invitations":"consent"}'
  sdk=http://127.0.0.1:$port/acme/chat
  curl -fsS -H 'Content-Type: application/json' $sdk/users -d '{"username":"hal","password":"a-password-of-hal"}'; echo
  token=$(curl -fsS -H 'Content-Type: application/json' $sdk/token -d '{"grant_type":"password","username":"fay","password":"a-password-of-fay"}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -fsS -H "Authorization: Bearer $token" -H 'Content-Type: application/json' $sdk/chatgroups -d '{"groupname":"asked","desc":"","public":false,"maxusers":10,"owner":"fay","members":["hal"]}'; echo
  paths="$paths $(echo messages/{1190461258324410368,1190461258324410369,f47ac10b-58cc-4372-a567-0e02b2c3d479,plain}{,/readers,/nonreaders})"
  paths="$paths $(echo groups/old/{messages,members,positions} users/{ben,cleo}/reads users/{fay,hal}/conversations)"
fi
if [ "$all" ]; then
  now=$(date +%s)000
  send '[{"type":"group.created","group":"g4","owner":"ann","members":["ben","cleo","dan","fred"],"admins":["eve"],"event_id":"made-g4"},
    {"type":"message.sent","id":"g4-1","from":"ann","group":"g4","receipt":true,"label":"spring","event_id":"sent-1"},
    {"type":"message.read","message":"g4-1","user":"ben","group":"g4","event_id":"read-1"},
    {"type":"message.read","message":"g4-1","user":"ben","group":"g4","event_id":"read-1"},
    {"type":"group.left","user":"fred","group":"g4","event_id":"left-1"},{"type":"group.left","user":"fred","group":"g4","event_id":"left-1"}]'
  api -X PUT $base/users/cleo/settings -d '{"send_read_receipts":false}'
  api -X PUT "$base/users/dan/conversations/g4/settings?type=group" -d '{"send_read_receipts":false}'
  send '[{"type":"message.read","message":"g4-1","user":"cleo","group":"g4"},{"type":"message.read","message":"g4-1","user":"dan","group":"g4"}]'
  api -X PUT $base -d '{"unread_by":"message","receipt_time":"reported","max_report_age":"24h","group_receipts":{"enabled":true,"max_group_size":3,"above_limit":"counts"}}'
  sleep 0.2
  send '[{"type":"message.sent","id":"g4-2","from":"ann","group":"g4","receipt":true,"label":"summer"},
    {"type":"message.sent","id":"g4-3","from":"eve","group":"g4","silent":true},
    {"type":"message.read","messages":["g4-2","early-2","early-3"],"user":"ben","group":"g4"},
    {"type":"message.read","message":"g4-1","user":"eve","group":"g4","content":"late","time":'$now'},
    {"type":"conversation.read","user":"ben","group":"g4","upto":"g4-2"},{"type":"conversation.read","user":"eve","group":"g4","upto":"early-4"},
    {"type":"conversation.marked_unread","user":"ben","group":"g4"},{"type":"message.recalled","message":"early-5","user":"ann","group":"g4"},
    {"type":"group.role","user":"ben","group":"g4","role":"owner"}]'
  for n in 1 2 3 4 5 6; do
    send '[{"type":"message.sent","id":"c'$n'","from":"ann","peer":"gil","label":"spring"},{"type":"message.delivered","message":"c'$n'","user":"gil","peer":"ann"}]'
  done
  for device in phone tablet; do
    cursor=$(api "$base/users/ann/statistics?device=$device" | sed 's/.*"cursor":"\([^"]*\)".*/\1/')
    api "$base/users/ann/statistics:ack?device=$device" -d '{"cursor":"'"$cursor"'"}'
    send '[{"type":"message.read","message":"c'$((${#device} - 3))'","user":"gil","peer":"ann"},{"type":"conversation.read","user":"gil","peer":"ann","upto":"c5"}]'
  done
  paths="$paths $(echo messages/g4-{1,2,3} messages/g4-1/{readers,nonreaders} messages/g4-1/{readers,nonreaders}?left=exclude messages/c{1,2,3,6}?users=ann,gil)"
  paths="$paths $(echo groups/g4/{messages,members,positions} users/{eve,gil,fred}/conversations users/{cleo,gil}/settings)"
  paths="$paths $(echo users/ann/statistics?device={phone,tablet,another} users/ben/reads?group=g4)"
fi
for path in $paths; do
  printf '%s\t%s\n' "$path" "$(api "$base/$path")"
done > "$data/answers"
kill $pid
wait $pid || true
tar -C "$data" -czf "$archive" data answers
rm -r "$data"
