#!/bin/sh
# The smallest useful agent: what a program must do to be kept and fed by `relay-runner run command -- examples/agent.sh`.
#
# Each line on standard input is something to do, as JSON; each line on standard output says what we did, as JSON.
# Standard error is free for people. The whole protocol: docs/command-provider.md.

work() { # what this agent is good for: put your own program here
    echo "agent.sh: working on message $1" >&2
    sleep 1
}

while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        # The message's own id stands right before the first "nonce", whatever is in its body and payload.
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        # Say `taken` before `busy`: what is taken while idle belongs to the turn that begins next.
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
        if work "$id"; then
            echo "{\"type\":\"idle\",\"turn\":\"m$id\"}"
        else
            echo "{\"type\":\"idle\",\"turn\":\"m$id\",\"failed\":\"work ended with code $?\"}"
        fi
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
