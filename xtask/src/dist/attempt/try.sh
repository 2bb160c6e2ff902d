#!/bin/bash
# Runs inside the system to try, once it is up. Says what it saw, one fact a line, in /try.
exec >/try 2>&1
state() { systemctl show -p "$3" --value "$2" | sed "s/^/$1.$3=/"; }

# The AWS CLI sent to an endpoint of somebody's choice, which a rule of the catalogue tells of.
alert() {
    printf '#!/bin/sh\nexit 0\n' >/usr/local/bin/aws
    chmod +x /usr/local/bin/aws
    for _ in $(seq 50); do
        /usr/local/bin/aws s3 ls --endpoint-url "http://try-$RANDOM.example.net"
        sleep 0.3
        grep -q endpoint-url /var/log/groundtrail/alerts.ndjson 2>/dev/null && return
    done
    false
}
alert && echo alert=yes || echo alert=no
for fact in ActiveState NRestarts User StatusText; do
    state sensor groundtrail-sensor.service $fact
    state correlator groundtrail.service $fact
done
pid=$(systemctl show -p MainPID --value groundtrail-sensor.service)
groundtrail-sensor status >/try.status 2>&1
echo "sensor.status=$?"
for fact in VmRSS CapEff NoNewPrivs Seccomp; do
    sed -n "s/^$fact:[[:space:]]*/sensor.$fact=/p" "/proc/$pid/status"
done

# Without one, 0 would be the script itself.
[ "$pid" != 0 ] || { echo watchdog.Restarted=no; exit; }
kill -STOP "$pid"
for _ in $(seq 100); do
    sleep 0.2
    now=$(systemctl show -p MainPID --value groundtrail-sensor.service)
    [ "$now" != 0 ] && [ "$now" != "$pid" ] && [ "$(systemctl is-active groundtrail-sensor.service)" = active ] && break
done
[ "$now" != "$pid" ] && echo watchdog.Restarted=yes || echo watchdog.Restarted=no
state watchdog groundtrail-sensor.service ActiveState

echo '[outptu]' >>/etc/groundtrail/sensor.toml
systemctl restart groundtrail-sensor.service
sleep 3
state misconfigured groundtrail-sensor.service ActiveState
