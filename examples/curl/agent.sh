#!/bin/sh
# An agent made of curl alone: registers, attaches by long poll, answers pings, echoes what it is sent, says goodbye on
# Ctrl-C.
#   examples/curl/agent.sh [http://127.0.0.1:50080] [curl-1]
set -eu
base=${1:-http://127.0.0.1:50080}
id=${2:-curl-1}
api=$base/mycosoft.orchestrator.agent.v1

# Calls a method with Connect JSON: call <service/method> <body> [curl options].
call() {
  method=$1 body=$2
  shift 2
  curl --silent --show-error --fail-with-body --max-time 30 -H 'Content-Type: application/json' "$@" \
    --data "$body" "$api.$method"
}

# The values of a string field in JSON: fields <name>, one a line.
fields() { grep -o "\"$1\":\"[^\"]*\"" | cut -d'"' -f4; }

# Carries out the deliveries in an answer: echoes a message's text, declines commands.
updates() {
  printf '%s\n' "$1" | awk '{ gsub(/\{"delivery":/, "\n&"); print }' | grep '^{"delivery":' | while read -r delivery; do
    found() { printf '%s\n' "$delivery" | grep -o "$1" | head -n 1; }
    case $delivery in
      *'"command":'*) outcome='"state":"STATE_DECLINED","error":"curl takes no orders"' ;;
      *) outcome="\"state\":\"STATE_SUCCEEDED\",\"output\":{$(found '"text":"\([^"\\]\|\\.\)*"')}" ;;
    esac
    printf ',{"deliveryUpdate":{%s,%s}}' "$(found '"work":{[^}]*}')" "$outcome"
  done
}

spec='{"kind":"curl","displayName":"curl by long poll","capabilities":[{"name":"echo"}]}'
token=$(call AgentService/RegisterAgent "{\"agentId\":\"$id\",\"spec\":$spec}" | fields agentToken)
poll() { call SessionService/PollSession "$1" -H "Authorization: Bearer $token"; }

hello="{\"hello\":{\"instanceId\":\"curl-$$\",\"client\":\"curl\",\"report\":{\"activity\":\"polling\"}}}"
answer=$(poll "{\"frames\":[$hello],\"wait\":\"0s\"}")
epoch=$(echo "$answer" | fields epoch | head -n 1)
echo "attached: epoch $epoch"

goodbye() {
  poll "{\"epoch\":\"$epoch\",\"frames\":[{\"leave\":{\"reason\":\"done\"}}],\"wait\":\"0s\"}" >/dev/null
  echo left
  exit 0
}
trap goodbye INT TERM

while :; do
  frames=
  for echo in $(echo "$answer" | fields echo); do
    frames=$frames${frames:+,}"{\"heartbeat\":{\"echo\":\"$echo\"}}"
    echo "answered ping $echo"
  done
  frames=$frames$(updates "$answer")
  frames=${frames#,}
  case $answer in *'"goAway"'*) echo "sent away: $answer"; exit 1 ;; esac
  answer=$(poll "{\"epoch\":\"$epoch\",\"frames\":[$frames],\"wait\":\"20s\"}")
done
