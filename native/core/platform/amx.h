// AMX tiles are extended processor state, for which a process needs the system's permission. Linux grants it from 5.16
// on. Older kernels and some sandboxes refuse.
#pragma once

namespace heddle {

// Whether the system can save the tiles of a thread.
bool keeps_tiles();
// Asks for the permission to use tiles, in all threads including later ones. Linux refuses it while a thread has an
// alternate signal stack that would be too small, and afterwards refuses such stacks.
bool allow_tiles();

}  // namespace heddle
