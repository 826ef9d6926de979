#!/bin/sh
# Starts mosquitto in its container. Nothing there can be written but /run/mosquitto, which is gone with the container:
# mosquitto wants its password file to be its own, and its listener depends on what lies in mosquitto/own.
set -eu
umask 077
run=/run/mosquitto
own=/mosquitto/own

cp /secrets/passwords $run/passwords
cp /mosquitto/config/acl $run/acl
# Beginning on a line of its own.
[ ! -e $own/acl ] || { echo; cat $own/acl; } >>$run/acl

# The health check and whoever types mosquitto_sub in here are the viewer, without a password on a command line.
printf -- '-p 1884\n-u viewer\n-P %s\n' "$(cat /secrets/viewer)" >$run/mosquitto_sub

mkdir -p $run/conf.d
echo 'listener 1883' >$run/conf.d/published.conf
if [ -e $own/server.crt ] || [ -e $own/server.key ]; then
    for file in server.crt server.key; do
        [ -r $own/$file ] || { echo "mosquitto/own/$file: expected a file that user 1883 can read, beside the other one" >&2; exit 1; }
    done
    printf 'certfile %s\nkeyfile %s\n' $own/server.crt $own/server.key >>$run/conf.d/published.conf
fi

exec mosquitto -c /mosquitto/config/mosquitto.conf
