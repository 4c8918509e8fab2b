# Tests of daemon/.
