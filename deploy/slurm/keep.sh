# shellcheck shell=bash
# Read by the scripts beside it (`source`); not run by itself.

# keep LOG COMMAND...: runs a command and starts it again whenever it ends, as a supervisor does: a process that has
# lost its device or its memory ends for that (exit code 70). It returns once it is told to stop (SIGTERM), which the
# command is told too; with 64 where the command says that it is configured badly; and with 70 where it has ended RESTARTS
# times (8) within ten minutes, because the next time will not be another. To be run in the background.
keep() {
    local log=$1 pid='' code is_stopped=false started pause=2 ends=() most=${RESTARTS:-8} name
    shift
    name=$(basename "$log" .log)
    trap 'is_stopped=true; [ -z "$pid" ] || kill -TERM "$pid" 2> /dev/null || true' TERM
    while ! $is_stopped; do
        started=$SECONDS
        "$@" >> "$log" 2>&1 &
        pid=$!
        # The signal may have come between the two lines above.
        ! $is_stopped || kill -TERM "$pid" 2> /dev/null || true
        code=0
        await "$pid" || code=$?
        pid=''
        ! $is_stopped || break
        echo "$name ended with $code, see $log" >&2
        [ "$code" -ne 64 ] || return 64
        ends+=("$SECONDS")
        if [ "${#ends[@]}" -ge "$most" ] && [ $((SECONDS - ends[-most])) -lt 600 ]; then
            echo "$name ended $most times within ten minutes and is given up" >&2
            return 70
        fi
        # One that ends soon after its start is left alone for longer and longer: what it lacks may come back.
        [ $((SECONDS - started)) -lt 60 ] || pause=2
        rest "$pause"
        pause=$((pause < 30 ? pause * 2 : 60))
    done
}

# rest SECONDS: a sleep that a signal cuts short.
rest() {
    sleep "$1" &
    wait "$!" || true
    kill "$!" 2> /dev/null || true
}

# await PID: waits for a child to its end and returns its exit code. A signal that is caught cuts `wait` short, so that
# it is asked until the child is over, and then for the code.
await() {
    while is_running "$1"; do
        wait "$1" || true
    done
    wait "$1"
}

is_running() {
    kill -0 "$1" 2> /dev/null
}
