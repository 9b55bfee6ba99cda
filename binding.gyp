{
  # Lets node-gyp and prebuildify drive the CMake build; CMakeLists.txt owns the sources.
  "targets": [
    {
      "target_name": "heddle",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "message": "Building heddle.node with CMake",
          "inputs": [],
          "outputs": ["<(PRODUCT_DIR)/heddle.node"],
          "action": ["node", "scripts/build-addon.mjs"]
        }
      ]
    }
  ]
}
